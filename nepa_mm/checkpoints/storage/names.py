"""What the checkpoints of a training are called and found by, and which of the two weights in one an address asks for."""
import re
from collections.abc import Iterator
from heapq import merge
from pathlib import Path

NAME = re.compile(r'(epoch|iter)_(\d+)\.pth(\.replaced)?')
SCHEMES = ('raw:', 'ema:')
MANIFEST = 'manifest.pth'  # of one in a folder, see sharded_files.py


def is_sharded(path: Path) -> bool:
    """Whether it is a checkpoint in a folder."""
    return (path / MANIFEST).is_file()


def path_of(address: str) -> str:
    """The address without ``raw:`` or ``ema:``."""
    return address[4:] if address.startswith(SCHEMES) else address


def checkpoints_in(*folders: Path) -> Iterator[Path]:
    """The ``epoch_*.pth`` and ``iter_*.pth`` of a run's folders, newest first by the step that they hold."""
    found = {'iter': [], 'epoch': []}  # of the same step, that which a stop left knows that it is to go; replaced ones come last
    for path in (path for folder in folders if folder.is_dir() for path in folder.iterdir()):
        match = NAME.fullmatch(path.name)
        if match:
            found[match[1]].append((int(match[2]), not match[3], path))
    stacks = (sorted(each, reverse=True) for each in found.values())
    for *_, path in merge(*stacks, key=lambda each: step_of(each[-1]), reverse=True):
        yield path


def step_of(path: Path) -> float:
    """The optimizer step that a checkpoint says it holds; infinite if it cannot be read, so that it is looked at and named."""
    from .pickled import read_meta  # with torch, which takes seconds: only where there is one
    try:
        return read_meta(path)['iter']
    except Exception:  # of any kind: what a damaged file can hold has no end
        return float('inf')
