"""What a test counted, as a person reads it: a table of classes, and the confusions that cost most."""
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from .tallies import ClassificationTally, MultiLabelTally, SegmentationTally, Tally

PAIRS = 10  # confusions that are named


@dataclass
class Grid:
    """A table whose cells are texts: the first columns names, the others numbers.

    Args:
        columns: Their heads.
        rows: Cells of each row, those of all classes at last where there are such.
        classes: The class of each row, or none.
        shares: Lengths of the bars beside the rows, in [0, 1]; nan is none.
        names: Columns that are names.
        note: How to read it.
    """
    columns: list[str]
    rows: list[list[str]]
    classes: list[int | None] = field(default_factory=list)
    shares: list[float] = field(default_factory=list)
    names: int = 1
    note: str = ''


def class_grid(tally: Tally) -> Grid:
    """A row of each class, the worst first and those that nothing is known about last, and one of all together."""
    if isinstance(tally, SegmentationTally):
        return of_pixels(tally)
    if isinstance(tally, ClassificationTally):
        return of_images(tally)
    return of_labels(tally)


def of_pixels(tally: SegmentationTally) -> Grid:
    pairs = tally.pairs()
    hits, labelled, predicted = pairs.hits, pairs.labelled, pairs.predicted
    iou = ratio(hits, labelled + predicted - hits)
    columns = [iou, ratio(hits, labelled), ratio(hits, predicted)]
    means = [mean(column) for column in columns]
    if np.isnan(iou).any():  # nobody asked for a class: of the others no perfect mean is given, as of ExactIoUMetric
        means = [np.nan if percent(value) == '100.00' else value for value in means]
    note = ('IoU: pixels that are of the class and were found, of all that are of it or were taken for it. Accuracy: of those '
            'that are of it. Precision: of those that were taken for it. The mean is over the classes that have a number.')
    return grid(tally.classes, ['class', 'pixels', 'share %', 'IoU %', 'accuracy %', 'precision %'],
                [labelled, ratio(labelled, labelled.sum())], columns, ['mean', whole(labelled.sum()), '', *map(percent, means)],
                note)


def of_images(tally: ClassificationTally) -> Grid:
    pairs = tally.pairs()
    hits, labelled, predicted = pairs.hits, pairs.labelled, pairs.predicted
    note = ('Accuracy: images of the class that were taken for it. Precision: images that were taken for it and are of it. The '
            'last row is of all images.')
    total = pairs.counts.sum()  # with labels that are no class, which are wrong
    return grid(tally.classes, ['class', 'images', 'accuracy %', 'precision %'], [labelled],
                [ratio(hits, labelled), ratio(hits, predicted)],
                ['all', whole(total), percent(ratio(hits.sum(), total)), ''], note)


def of_labels(tally: MultiLabelTally) -> Grid:
    labelled, predicted, both = tally.counts
    precision, recall, f1 = (np.where(below > 0, above / np.maximum(below, 1), 0.) for above, below in (
        (both, predicted), (both, labelled), (2 * both, labelled + predicted)))  # 0 of nothing, as mmpretrain has it
    said = f'a score of {tally.threshold:g} or more' if tally.threshold is not None else f'the {tally.topk} highest scores'
    note = (f'A class is said of an image by {said}. Recall: images of the class of which it was said. Precision: images of '
            'which it was said and that have it. F1: their harmonic mean.')
    return grid(tally.classes, ['class', 'images', 'said', 'F1 %', 'recall %', 'precision %'], [labelled, predicted],
                [f1, recall, precision], ['mean', whole(labelled.sum()), whole(predicted.sum()),
                                          *(percent(mean(column)) for column in (f1, recall, precision))], note)


def grid(classes: Sequence[str], heads: list[str], counts: list[np.ndarray], scores: list[np.ndarray], last: list[str],
         note: str) -> Grid:
    """Classes with counts and scores, sorted by the first score."""
    order = np.lexsort((-counts[0], scores[0])).tolist()  # nan comes last
    cells = [[whole(value) if value.dtype.kind == 'i' else percent(value) for value in column] for column in counts]
    cells += [[percent(value) for value in column] for column in scores]
    rows = [[classes[number], *(column[number] for column in cells)] for number in order]
    return Grid(heads, [*rows, last], [*order, None], [*scores[0][order].tolist(), np.nan], note=note)


def confusion_grid(tally: Tally) -> Grid | None:
    """The pairs of classes that were confused most; None where classes exclude each other not, or nothing was confused."""
    if isinstance(tally, MultiLabelTally):
        return None
    pairs = tally.pairs()
    confused, labelled = pairs.confused(), pairs.labelled
    wrong = int((labelled - pairs.hits).sum())
    if not confused:
        return None
    unit = 'pixels' if isinstance(tally, SegmentationTally) else 'images'
    names = tally.classes
    rows = [[names[label], names[said], whole(count), percent(count / labelled[label]), percent(count / wrong)]
            for label, said, count in confused[:PAIRS]]
    note = f'Of the class: share of its {unit}. Of the errors: share of all {unit} that were taken for another class.'
    return Grid(['is', 'taken for', unit, 'of the class %', 'of the errors %'], rows, [pair[0] for pair in confused[:PAIRS]],
                [count / confused[0][2] for *_, count in confused[:PAIRS]], 2, note)


def ratio(above: np.ndarray, below: np.ndarray) -> np.ndarray:
    """Ratios in float64; nan where nothing is below."""
    with np.errstate(invalid='ignore', divide='ignore'):
        return np.asarray(above) / np.asarray(below)


def mean(values: np.ndarray) -> float:
    """Mean of the numbers; nan of none."""
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else np.nan


def whole(count: int) -> str:
    return f'{int(count):,}'


def percent(value: float) -> str:
    """In percent, by two digits as metrics give it; - for nan."""
    return '-' if np.isnan(value) else f'{np.round(100 * value, 2):.2f}'
