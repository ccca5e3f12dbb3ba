"""What the checkpoints of a training are called."""
import re
from pathlib import Path

NAME = re.compile(r'(epoch|iter)_(\d+)\.pth(\.replaced)?')
MANIFEST = 'manifest.pth'  # of one in a folder, see sharded_files.py


def is_sharded(path: Path) -> bool:
    """Whether it is a checkpoint in a folder."""
    return (path / MANIFEST).is_file()
