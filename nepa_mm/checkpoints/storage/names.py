"""What the checkpoints of a training are called, and which of the two weights in one an address asks for."""
import re
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
