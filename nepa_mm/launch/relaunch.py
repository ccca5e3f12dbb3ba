"""A training that ``tools/dist_train.sh --max-restarts`` has started again: what its processes know, by the environment."""
import os
import sys

from nepa_mm.errors import is_first_process

RESTART = 'NEPA_RESTART'  # which one of how many, and what has died: '1 of 3: loader worker 71 (SIGKILL) died at ...'
LAUNCHED = 'NEPA_LAUNCHED'  # when the launcher began, in seconds since the epoch


def restart() -> str:
    """Which restart this is, and what it follows; empty at the first start."""
    return os.environ.get(RESTART, '')


def launched() -> float:
    """When the launcher began; what a file system has changed since then is of this training."""
    return float(os.environ.get(LAUNCHED, 0))


def say_restart(checkpoint: str | None) -> None:
    """Say in one line that a training goes on, and from which checkpoint; nothing at the first start."""
    if restart() and is_first_process():
        print(f'nepa_mm: restart {restart()} | {f"from {checkpoint}" if checkpoint else "anew, for nothing was saved yet"}',
              file=sys.stderr, flush=True)
