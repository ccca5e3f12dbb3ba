"""What came of an experiment: a record of each training, a table with mean and spread over seeds, curves."""
import json
import statistics
from collections.abc import Sequence
from datetime import datetime
from itertools import chain
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy.stats import spearmanr

from nepa_mm.launch.training_process import logged

from .experiment import Row, Training, settings_of, train_all, trainings_of

KEPT = ('loss', 'cosine', 'collapse', 'rankme', 'lidar', 'accuracy/top1', 'mIoU')
POINTS = 40  # of a curve that is kept


def record_of(training: Training, seed: int, folder: Path) -> dict:
    """Command, last numbers, curve and wall time, in seconds, of a training that has ended."""
    config, place, options = settings_of(training, seed, folder)
    records = logged(place)
    last = dict(chain.from_iterable(record.items() for record in records))
    points = {record['step']: {key: record[key] for key in ('step', 'loss', 'collapse') if key in record}
              for record in records if 'loss' in record}  # what is done again after a resume takes the place of the first
    curve = [points[step] for step in sorted(points)]
    # From the start of each process, which a folder is named after, to its last line
    seconds = sum(max(path.stat().st_mtime for path in start.rglob('*')) - datetime.strptime(
        start.name, '%Y%m%d_%H%M%S').timestamp() for start in place.glob('2*_*'))
    return dict(
        training=training.name,
        seed=seed,
        change=training.change,
        command=f'python tools/train.py {config} --work-dir {place} --cfg-options {" ".join(options)}',
        results={key: value for key, value in last.items() if key in KEPT or key.endswith('/mIoU')},
        wall_s=round(seconds),
        curve=curve[::-max(1, len(curve) // POINTS)][::-1])  # thinned from its end


def records_of(rows: list[Row], seeds: Sequence[int], folder: Path, jobs: int = 1, kept: dict | None = None) -> list[dict]:
    """Run an experiment by some seeds; the records of its trainings. Of ``kept``, as ``records_in`` gives it, nothing is run."""
    kept, trainings = kept or {}, [(training, seed) for training in trainings_of(rows) for seed in seeds]
    train_all([(training, seed) for training, seed in trainings if (training.name, seed) not in kept], jobs, folder)
    return [kept.get((training.name, seed)) or record_of(training, seed, folder) for training, seed in trainings]


def write_records(path: Path, records: list[dict]) -> None:
    path.write_text(''.join(json.dumps(record) + '\n' for record in records))


def records_in(path: Path) -> dict[tuple[str, int], dict]:
    """The records of a file, by training and seed; none where it does not exist."""
    records = map(json.loads, path.read_text().splitlines()) if path.exists() else []
    return {(record['training'], record['seed']): record for record in records}


def numbers_of(row: Row, column: str, records: list[dict]) -> list[float]:
    """Of a cell: the number of each seed; none where the row has no such column."""
    training, key = row.cells.get(column, (None, None))
    return [record['results'][key] for record in records if training and record['training'] == training.name]


def spread(numbers: list[float]) -> str:
    """Mean and, of several, sample standard deviation; percentages with one digit, others with three."""
    if not numbers:
        return ''
    digits = 1 if max(map(abs, numbers)) > 1.5 else 3
    text = f'{statistics.mean(numbers):.{digits}f}'
    return text if len(numbers) == 1 else f'{text} ± {statistics.stdev(numbers):.{digits}f}'


def table_of(rows: list[Row], records: list[dict], compared: str = 'paper') -> str:
    """Markdown table of an experiment, and a line that says what it took; ``compared`` says whose the figures of the rows are."""
    columns = list(dict.fromkeys(column for row in rows for column in row.cells))
    lines = [f"| | {' | '.join(columns)} | {compared} |", f"| --- |{' ---: |' * len(columns)} --- |"]
    lines += [f"| {' | '.join([row.name, *(spread(numbers_of(row, column, records)) for column in columns), row.paper])} |"
              for row in rows]
    seeds, hours = len({record['seed'] for record in records}), sum(record['wall_s'] for record in records) / 3600
    by = '1 seed' if seeds == 1 else f'{seeds} seeds'
    return '\n'.join([*lines, '', f'{len(records)} trainings in all ({by}), {hours:.1f} hours, each on one core.', ''])


def draw_curves(rows: list[Row], records: list[dict]) -> Figure:
    """Loss and collapse gauge of each pretraining over iterations, a line for each seed."""
    figure = Figure(figsize=(10, 3.6), layout='constrained', dpi=110)
    both = figure.subplots(1, 2)
    draw_pair(both, rows, records)
    return figure


def draw_pair(both: Sequence[Axes], rows: list[Row], records: list[dict]) -> None:
    """The curves on axes that are there, of loss and of the gauge."""
    for axes, key, label in zip(both, ('loss', 'collapse'), ('loss (-1: exact)', 'collapse (1: all images alike)')):
        for i, row in enumerate(row for row in rows if key in row.cells):
            for record in records:
                if record['training'] == row.cells[key][0].name:
                    points = [(point['step'], point[key]) for point in record['curve']]
                    name = row.name if record['seed'] == records[0]['seed'] else None
                    axes.plot(*zip(*points), color=f'C{i}', linewidth=1, label=name)
        axes.set(xlabel='iteration', ylabel=label)
        axes.grid(alpha=0.3)
    both[0].legend(fontsize=8)


def draw_points(rows: list[Row], records: list[dict]) -> Figure:
    """Numbers of each column over the rows, with their spread."""
    figure = Figure(figsize=(5.5, 3.6), layout='constrained', dpi=110)
    axes = figure.subplots()
    for column in rows[0].cells:
        numbers = [numbers_of(row, column, records) for row in rows]
        spreads = [statistics.stdev(values) if len(values) > 1 else 0 for values in numbers]
        axes.errorbar([row.name for row in rows], [statistics.mean(values) for values in numbers], spreads, fmt='o-', capsize=3,
                      label=column)
    axes.set_ylabel('top-1 (%)')
    axes.grid(alpha=0.3)
    axes.legend()
    return figure


def draw_ranks(rows: list[Row], records: list[dict]) -> Figure:
    """Top-1 of a linear classifier over RankMe and LiDAR of each pretraining, and Spearman's correlation of their orders."""
    figure = Figure(figsize=(10, 3.6), layout='constrained', dpi=110)
    both = figure.subplots(1, 2, sharey=True)
    for axes, key in zip(both, ('RankMe', 'LiDAR')):
        pairs = [(row, *pair) for row in rows
                 for pair in zip(numbers_of(row, key, records), numbers_of(row, 'linear', records), strict=True)]
        for i, row in enumerate(rows):
            axes.plot(*zip(*(numbers for of, *numbers in pairs if of is row)), 'o', color=f'C{i}', label=row.name.strip('*'))
        correlation = spearmanr(*zip(*(numbers for _, *numbers in pairs))).statistic
        axes.set(xlabel=key, title=f'rank correlation {correlation:.2f}, {len(pairs)} pretrainings')
        axes.grid(alpha=0.3)
    both[0].set_ylabel('top-1 of a linear classifier (%)')
    both[1].legend(fontsize=8, loc='center left', bbox_to_anchor=(1, 0.5))
    return figure
