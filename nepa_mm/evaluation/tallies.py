"""What a test counts beside its metric: how often each class was taken for which, and the images that it did worst and best.

Memory does not grow with the number of images, but for two integers of each in classification.
"""
from bisect import insort
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

SHOWN = 6  # images, of the worst and of the best
CHUNK = 2**20  # pixels that are counted at once
SIDE = 320  # pixels of the longer side of a kept label map, or less


@dataclass
class PairCounts:
    """A confusion matrix without its zeros: counts, int64 [K], of pairs of label and prediction.

    ``num_classes`` itself stands for what is no class: predictions count against it, and it has no numbers of its own.
    """
    labels: np.ndarray
    predictions: np.ndarray
    counts: np.ndarray
    num_classes: int

    @classmethod
    def of_matrix(cls, matrix: np.ndarray) -> 'PairCounts':
        """Of counts [num_classes + 1, num_classes + 1] by label (rows) and prediction."""
        labels, predictions = np.nonzero(matrix)
        return cls(labels, predictions, matrix[labels, predictions], len(matrix) - 1)

    def sums(self, classes: np.ndarray, chosen: np.ndarray | slice = slice(None)) -> np.ndarray:
        """Counts by class, int64 [num_classes], of the pairs that are chosen."""
        total = np.zeros(self.num_classes + 1, np.int64)
        np.add.at(total, classes[chosen], self.counts[chosen])
        return total[:-1]

    @property
    def hits(self) -> np.ndarray:
        """How often each class was found, int64 [num_classes]."""
        return self.sums(self.labels, self.labels == self.predictions)

    @property
    def labelled(self) -> np.ndarray:
        return self.sums(self.labels)

    @property
    def predicted(self) -> np.ndarray:
        return self.sums(self.predictions)

    def confused(self) -> list[tuple[int, int, int]]:
        """Label, prediction and count of pairs of two classes, the most frequent first."""
        wrong = (self.labels != self.predictions) & (self.labels < self.num_classes) & (self.predictions < self.num_classes)
        triples = zip(*(part[wrong].tolist() for part in (self.labels, self.predictions, self.counts)))
        return sorted(triples, key=lambda triple: (-triple[2], *triple[:2]))


class Scored(NamedTuple):
    """An image with its score in [0, 1]. ``index`` is its place in the dataset; ``facts`` are what a picture of it needs."""
    score: float
    index: int
    path: str
    facts: Any


class Extremes:
    """The images with the lowest and the highest scores, of equal ones those that come first in the dataset."""

    def __init__(self, most: int = SHOWN) -> None:
        self.most, self.total = most, 0
        self.lowest, self.highest = [], []

    def add(self, score: float, index: int, path: str, facts: Callable[[], Any]) -> None:
        """Keep an image if it belongs to the extremes so far, and only then make its facts; one without score (nan) does not."""
        if score != score:
            return
        self.total += 1
        image = None
        for kept, sign in ((self.lowest, 1), (self.highest, -1)):
            if len(kept) < self.most or (sign * score, index) < place(kept[-1], sign):
                image = image or Scored(score, index, path, facts())
                insort(kept, image, key=lambda each: place(each, sign))
                del kept[self.most:]

    def merged(self, other: 'Extremes') -> 'Extremes':
        """Those of both."""
        both = Extremes(self.most)
        both.total = self.total + other.total
        both.lowest = sorted(self.lowest + other.lowest, key=lambda each: place(each, 1))[:self.most]
        both.highest = sorted(self.highest + other.highest, key=lambda each: place(each, -1))[:self.most]
        return both

    def sheet(self) -> tuple[list[Scored], list[Scored]]:
        """The worst images, worst first, and the best, best first; none is in both."""
        worst = self.lowest[:min(self.most, (self.total + 1) // 2)]
        shown = {image.index for image in worst}  # of equal scores, the best may be the same images
        return worst, [image for image in self.highest if image.index not in shown]


def place(image: Scored, sign: int) -> tuple[float, int]:
    return sign * image.score, image.index


class SegmentationTally:
    """Pixels by label and prediction; an image's score is the mean IoU of the classes that it has or was said to have.

    Args:
        classes: Their names.
        ignore_index: The label that does not count.
        head: Whose predictions they are, of several heads; None for those of the model.
    """

    def __init__(self, classes: Sequence[str], ignore_index: int, head: str | None = None) -> None:
        self.classes, self.ignore_index, self.head = list(classes), ignore_index, head
        self.matrix = np.zeros((len(classes) + 1, ) * 2, np.int64)
        self.extremes = Extremes()

    def add(self, index: int, sample: dict) -> None:
        """Count a sample, as a metric gets it."""
        maps = (sample[name]['data'] for name in (field_of(self.head), 'gt_sem_seg'))
        predicted, label = (data.reshape(data.shape[-2:]) for data in maps)  # [1, H, W], or merged [H, W]
        label = label.to(predicted.device)
        matrix = confusion(predicted, label, len(self.classes), self.ignore_index)
        self.matrix += matrix
        self.extremes.add(mean_iou(matrix), index, str(sample.get('img_path', index)),
                          lambda: (self.small(label), self.small(predicted)))

    def small(self, labels: Tensor) -> np.ndarray:
        """Every so many pixels of a map [H, W], uint8; 255 is what is no class."""
        step = -(-max(labels.shape) // SIDE)
        labels = labels[::step, ::step].long()
        known = (labels >= 0) & (labels < len(self.classes)) & (labels != self.ignore_index)
        return torch.where(known, labels, 255).to(torch.uint8).cpu().numpy()

    def merged(self, other: 'SegmentationTally') -> 'SegmentationTally':
        """That of the images of both."""
        both = SegmentationTally(self.classes, self.ignore_index, self.head)
        both.matrix, both.extremes = self.matrix + other.matrix, self.extremes.merged(other.extremes)
        return both

    def pairs(self) -> PairCounts:
        return PairCounts.of_matrix(self.matrix)


def field_of(head: str | None) -> str:
    """Where a sample has the label map of one of several heads, or that of the model."""
    return 'pred_sem_seg' if head is None else f'pred_sem_seg_{head}'


def confusion(predicted: Tensor, label: Tensor, num_classes: int, ignore_index: int) -> np.ndarray:
    """Pixels by label (rows) and prediction of two maps [H, W], int64 [num_classes + 1, num_classes + 1].

    The last row and column are what is no class; ``ignore_index`` does not count.
    """
    side = num_classes + 1
    total = np.zeros(side * (side + 1), np.int64)
    for said, their in zip(predicted.flatten().split(CHUNK), label.flatten().split(CHUNK)):
        rows = torch.where(their == ignore_index, side, class_or(num_classes, their.long()))  # a row of its own, left out
        pairs = rows * side + class_or(num_classes, said.long())
        total += torch.bincount(pairs, minlength=len(total)).cpu().numpy()
    return total.reshape(side + 1, side)[:side]


def class_or(num_classes: int, labels: Tensor) -> Tensor:
    """Labels, and ``num_classes`` for those that are no class."""
    return torch.where((labels >= 0) & (labels < num_classes), labels, num_classes)


def mean_iou(matrix: np.ndarray) -> float:
    """Mean IoU of the classes that are in label or prediction; nan if there is none."""
    hits = matrix.diagonal()[:-1]
    union = matrix.sum(1)[:-1] + matrix.sum(0)[:-1] - hits
    there = union > 0
    return float((hits[there] / union[there]).mean()) if there.any() else float('nan')


class ClassificationTally:
    """Images by label and prediction; an image's score is the probability of its own class.

    Args:
        classes: Their names; outputs beyond them are called by their numbers.
        most: The best that the metric looks for at once: equal scores stand in the same order so.
    """

    def __init__(self, classes: Sequence[str], most: int = 1) -> None:
        self.classes, self.most = list(classes), most
        self.images = []  # (label, prediction) of each
        self.extremes = Extremes()

    def add(self, index: int, sample: dict) -> None:
        """Count a sample, as a metric gets it."""
        label = int(sample['gt_label'])
        if 'pred_score' in sample:
            scores = sample['pred_score'].float().cpu()
            predicted = int(scores.topk(min(self.most, len(scores)))[1][0])
            self.classes += [str(number) for number in range(len(self.classes), len(scores))]
            own, said = (float(scores[number]) if 0 <= number < len(scores) else 0. for number in (label, predicted))
        else:
            predicted = int(sample['pred_label'])
            own, said = float(label == predicted), 1.
        self.images.append((label, predicted))
        self.extremes.add(own, index, str(sample.get('img_path', index)), lambda: (label, predicted, said))

    def merged(self, other: 'ClassificationTally') -> 'ClassificationTally':
        """That of the images of both."""
        both = ClassificationTally(max(self.classes, other.classes, key=len), self.most)
        both.images, both.extremes = self.images + other.images, self.extremes.merged(other.extremes)
        return both

    def pairs(self) -> PairCounts:
        count = len(self.classes)
        images = np.array(self.images, np.int64).reshape(-1, 2)
        images = np.where((images >= 0) & (images < count), images, count)
        pairs, counts = np.unique(images, axis=0, return_counts=True)
        return PairCounts(pairs[:, 0], pairs[:, 1], counts.astype(np.int64), count)


class MultiLabelTally:
    """Images that have a class, are said to have it, and both; an image's score is the F1 of its classes.

    Args:
        classes: Their names; outputs beyond them are called by their numbers.
        threshold: Score from which on a class is said.
        topk: Say so many classes of each image instead.
    """

    def __init__(self, classes: Sequence[str], threshold: float | None = 0.5, topk: int | None = None) -> None:
        self.classes, self.threshold, self.topk = list(classes), threshold, topk
        self.counts = np.zeros((3, len(classes)), np.int64)  # labelled, predicted, both
        self.extremes = Extremes()

    def add(self, index: int, sample: dict) -> None:
        """Count a sample, as a metric gets it."""
        scores = sample['pred_score'].float().cpu()
        said = torch.zeros(len(scores), dtype=torch.bool)
        said[scores >= self.threshold if self.threshold is not None else scores.topk(self.topk)[1]] = True
        if 'gt_score' in sample:
            label = sample['gt_score'].cpu()
            said &= label != -1  # difficult, which no metric counts
            label = label == 1
        else:
            label = torch.zeros(len(scores), dtype=torch.bool)
            label[sample['gt_label'].cpu().long()] = True
        new = len(scores) - len(self.classes)
        self.classes += [str(number) for number in range(len(self.classes), len(scores))]
        self.counts = np.pad(self.counts, ((0, 0), (0, max(new, 0))))
        self.counts += torch.stack([label, said, label & said]).numpy()
        both, each = int((label & said).sum()), int(label.sum() + said.sum())
        self.extremes.add(2 * both / each if each else 1., index, str(sample.get('img_path', index)), lambda: tuple(
            mask.nonzero().flatten().tolist() for mask in (label, said)))

    def merged(self, other: 'MultiLabelTally') -> 'MultiLabelTally':
        """That of the images of both."""
        both = MultiLabelTally(max(self.classes, other.classes, key=len), self.threshold, self.topk)
        for part in (self, other):
            both.counts[:, :part.counts.shape[1]] += part.counts
        both.extremes = self.extremes.merged(other.extremes)
        return both


Tally = SegmentationTally | ClassificationTally | MultiLabelTally


def tally_of(metrics: Sequence, classes: Sequence[str] | None) -> Tally | None:
    """What goes with the metrics of an evaluator, of two alike the first; None where none compares classes with labels."""
    kinds = {base.__name__: metric for metric in reversed(metrics) for base in type(metric).__mro__}
    if 'IoUMetric' in kinds:
        metric = kinds['IoUMetric']
        return None if metric.format_only or not classes else SegmentationTally(
            classes, metric.ignore_index, getattr(metric, 'head', None))
    several = kinds.get('MultiLabelMetric')
    if 'VOCMetricMixin' in kinds:  # which has rules of its own for difficult objects
        return None
    if several is not None:
        return MultiLabelTally(classes or (), several.thr, several.topk)
    if 'AveragePrecision' in kinds:
        return MultiLabelTally(classes or ())
    if {'Accuracy', 'SingleLabelMetric', 'ConfusionMatrix'} & kinds.keys():
        return ClassificationTally(classes or (), max(getattr(kinds.get('Accuracy'), 'topk', (1, ))))
    return None
