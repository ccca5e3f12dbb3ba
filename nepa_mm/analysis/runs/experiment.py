"""Experiments of many small trainings, each by several seeds: what is trained, and in which order."""
import os
import random
import runpy
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path

from nepa_mm.errors import DataError
from nepa_mm.launch.training_process import train_to_the_end

IMAGES = Path('data/cifar10/train')
LISTS = {'10pct': 0.1, '1pct': 0.01}  # lists of images that keep their label, by name: their share


@dataclass(frozen=True)
class Training:
    """A training, of which there is one for each seed.

    Args:
        name: Its folder in the work dir.
        config: Below configs/.
        change: Config below configs/ whose own settings, without those of its bases, are put on it.
        options: As for ``--cfg-options``.
        start: Pretraining that it begins from.
        start_epoch: Its epoch; None takes the last.
        labels: Name in ``LISTS`` of the images that keep their label; None leaves all.
    """
    name: str
    config: str
    change: str | None = None
    options: tuple[str, ...] = ()
    start: 'Training | None' = None
    start_epoch: int | None = None
    labels: str | None = None


@dataclass(frozen=True)
class Row:
    """A row of a table: its name, what the paper reports or what else stands last, and by column the training and the number
    that it logged last.
    """
    name: str
    paper: str
    cells: dict[str, tuple[Training, str]]


def trainings_of(rows: list[Row]) -> list[Training]:
    """All of a table, each once, pretrainings first."""
    trainings = [training for row in rows for training, _ in row.cells.values()]
    return list(dict.fromkeys([training.start for training in trainings if training.start] + trainings))


def train_all(trainings: list[tuple[Training, int]], jobs: int, folder: Path) -> None:
    """Run trainings, each of a seed, ``jobs`` at a time; what starts from a pretraining, given or not, as soon as that has ended.

    Raises:
        DataError: If there are no images to draw a list of labels from.
        SystemExit: Of the first that failed; those that run then are finished, no other is begun.
    """
    chains = {}
    for training, seed in trainings:
        chains.setdefault((training.start or training, seed), []).append((training, seed))
    waiting = list(dict.fromkeys(pair for first, chain in chains.items() for pair in (first, *chain)))
    ended, running = set(), {}
    with ThreadPoolExecutor(jobs) as pool:  # whose end waits for those that run
        while waiting or running:
            ready = [pair for pair in waiting if pair[0].start is None or (pair[0].start, pair[1]) in ended]
            for pair in ready[:jobs - len(running)]:
                waiting.remove(pair)
                running[pool.submit(train, *pair, folder)] = pair
            for run in wait(running, return_when=FIRST_COMPLETED).done:
                run.result()
                ended.add(running.pop(run))


def train(training: Training, seed: int, folder: Path) -> None:
    config, place, options = settings_of(training, seed, folder)
    place.parent.mkdir(parents=True, exist_ok=True)
    train_to_the_end(config, place, options, output=place.with_suffix('.log'))


def settings_of(training: Training, seed: int, folder: Path) -> tuple[Path, Path, list[str]]:
    """Config, work dir and options of one training of one seed; the one that it starts from has ended."""
    options = [f'randomness.seed={seed}', *training.options]
    if training.labels:
        options.append(f'train_dataloader.dataset.ann_file={list_of_labels(training.labels, seed, folder)}')
    if training.start:
        start = folder / training.start.name / f'seed{seed}'
        checkpoint = Path((start / 'last_checkpoint').read_text()).name
        if training.start_epoch:
            checkpoint = f'epoch_{training.start_epoch}.pth'
        options.append(f'model.backbone.init_cfg.checkpoint={start / checkpoint}')
    return configured(training, folder), folder / training.name / f'seed{seed}', options


def configured(training: Training, folder: Path) -> Path:
    """The config of a training: the repository's, or one in ``folder`` that puts the change on it."""
    config = Path('configs') / training.config
    if training.change is None:
        return config
    settings = runpy.run_path(f'configs/{training.change}')
    settings = {key: value for key, value in settings.items() if isinstance(value, dict) and not key.startswith('_')}
    path = folder / f'{training.name}.py'
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [f'_base_ = {str(config.resolve())!r}', *(f'{key} = {value!r}' for key, value in settings.items())]
    path.write_text('\n'.join(lines) + '\n')
    return path


def list_of_labels(name: str, seed: int, folder: Path) -> Path:
    """Draw the training images of CIFAR-10 that keep their label, as many of each class, and write their list once."""
    path = folder / 'lists' / f'{name}_seed{seed}.txt'
    if not path.exists():
        if not IMAGES.is_dir():
            raise DataError(f'{str(IMAGES)!r} does not exist', 'run_evidence.py',
                            'link CIFAR-10 there as {train,test}/<class>/<n>.jpg')
        draw, lines = random.Random(seed), []
        for label, entry in enumerate(sorted(entry for entry in IMAGES.iterdir() if entry.is_dir())):
            images = sorted(os.listdir(entry))
            lines += [f'{entry.name}/{image} {label}\n' for image in draw.sample(images, round(LISTS[name] * len(images)))]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(''.join(lines))
    return path
