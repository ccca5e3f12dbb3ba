"""Parts of what a runner has built: its loops, the data sets that others wrap, transforms in others."""
from collections.abc import Iterator

from mmengine.runner import BaseLoop, Runner
from torch.utils.data import Dataset


def loops_of(runner: Runner) -> dict[str, BaseLoop]:
    """The loops that are built, by 'train', 'val' and 'test'."""
    loops = {split: getattr(runner, f'_{split}_loop') for split in ('train', 'val', 'test')}
    return {split: loop for split, loop in loops.items() if isinstance(loop, BaseLoop)}


def wrapped_datasets(dataset: Dataset) -> Iterator[Dataset]:
    """The datasets that a dataset wraps, or itself."""
    held = getattr(dataset, '__dict__', {})  # a list has none
    parts = [held['dataset']] if 'dataset' in held else held.get('datasets')
    if parts is None:
        yield dataset
    else:
        for part in parts:
            yield from wrapped_datasets(part)


def transforms_in(transform) -> Iterator:
    """A transform, and those inside it."""
    yield transform
    inner = getattr(transform, 'transforms', None) or getattr(transform, 'subroutines', None) or ()  # those of TestTimeAug
    for part in inner if isinstance(inner, (list, tuple)) else [inner]:
        yield from transforms_in(part)
