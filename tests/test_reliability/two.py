"""A training in two or more processes without torchrun, so that each has its own end."""
import os
import signal
from pathlib import Path

import pytest
import torch
from forks import free_port

import runs

SHARDED = "model_wrapper_cfg = dict(type='nepa_mm.FullyShardedDataParallel')\n"  # half of the model in each of two processes
IS_SHARDED = pytest.param(True, id='FSDP2', marks=pytest.mark.skipif(torch.__version__ < (2, 6), reason='FSDP2 needs torch 2.6'))
WRAPPERS = [pytest.param(False, id='DDP'), IS_SHARDED]


def shared_out(config: Path, is_sharded: bool = True) -> Path:
    """A config, that of FSDP2 by then if it is to be."""
    config.write_text(config.read_text() + SHARDED * is_sharded)
    return config


def start_two(config: Path, folder: Path, *arguments, env: dict[str, str] = {}, befores: tuple[str, str] = ('', ''),
              **options) -> list[runs.Process]:
    """``tools/train.py`` once for each of ``befores``, with the arguments of :func:`runs.start`."""
    port, count = str(free_port()), len(befores)
    return [runs.start(config, folder, '--launcher', 'pytorch', *arguments, **{'before': befores[rank], **options}, env=dict(
        env, RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE=str(count), MASTER_ADDR='127.0.0.1', MASTER_PORT=port))
        for rank in range(count)]


def train_two(config: Path, folder: Path, *arguments, code: int = 0, **options) -> list[str]:
    """What all wrote to standard error, once they have ended with the exit code."""
    processes = start_two(config, folder, *arguments, **options)
    return [runs.finish(process, code) for process in processes]


def signalled_two(config: Path, folder: Path, ranks: list[int]) -> list[runs.Process]:
    """Two processes of a slow training, of which some have a SIGTERM once the first has logged two steps."""
    both = start_two(config, folder, before=runs.SLOWLY)
    runs.kill_at(both[0], folder, 2, 0)
    for rank in ranks:
        os.kill(both[rank].pid, signal.SIGTERM)
    return both


def assert_both_resume(config: Path, run: Path, whole: Path) -> None:
    """Resumed by two processes, a run ends as one that nothing interrupted."""
    train_two(config, run, '--resume')
    assert runs.loss_of_steps(run) == runs.loss_of_steps(whole)
    runs.assert_same_end(run / 'epoch_3.pth', whole / 'epoch_3.pth')
