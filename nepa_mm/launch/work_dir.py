"""One training at a time in a work dir, and none that is mixed with another."""
import fcntl
import os
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from mmengine.config import Config

from nepa_mm.checkpoints.storage.names import checkpoints_in
from nepa_mm.errors import CheckpointError, ConfigError, StorageError

from .config_parts import value_at
from .relaunch import restart

LOCK = '.nepa_mm_lock'
LAYER_LR = 'vis_data/layer_lr.json'  # what LayerLRHook writes, in the folder of a start
RANKS = {'pytorch': 'RANK', 'slurm': 'SLURM_PROCID', 'mpi': 'OMPI_COMM_WORLD_RANK'}  # what launchers tell a process


def is_first(cfg: Config) -> bool:
    """Whether this is the process that writes checkpoints, before processes know each other."""
    return os.environ.get(RANKS.get(cfg.launcher, ''), '0') == '0'


@contextmanager
def sole_run(cfg: Config) -> Iterator[None]:
    """Hold the work dir, which is made, as the only training that writes there; any end of the process lets go of it.

    Raises:
        ConfigError: If another process holds it; names its pid and host.
        StorageError: If nothing can be written there.
    """
    if not is_first(cfg):
        yield
        return
    try:
        Path(cfg.work_dir).mkdir(parents=True, exist_ok=True)
        file = open(Path(cfg.work_dir, LOCK), 'a+')
    except OSError as error:
        raise StorageError(f'it cannot be written ({error.strerror})', cfg.work_dir, 'choose another --work-dir') from error
    with file:
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)  # unlike flock's, not held on by workers that outlive a killed run
        except (BlockingIOError, PermissionError) as error:
            file.seek(0)
            raise ConfigError(f'another training writes there, {file.read().strip()}', cfg.work_dir,
                              'wait for its end, or choose another --work-dir') from error
        except OSError as error:  # of a file system without locks, as some of clusters are mounted
            print(f'nepa_mm: {cfg.work_dir} cannot be locked ({error.strerror}): let no other training write there',
                  file=sys.stderr)
        file.truncate(0)
        file.write(f'process {os.getpid()} on {socket.gethostname()}\n')
        file.flush()
        yield


def checkpoint_folders(cfg: Config, work_dir: str) -> list[Path]:
    """The work dir, and where mmengine's hook writes checkpoints if ``default_hooks.checkpoint.out_dir`` says so."""
    folders = [os.path.abspath(work_dir)]
    out_dir = str(value_at(cfg, 'default_hooks.checkpoint.out_dir') or '')
    if out_dir and '://' not in out_dir:
        folders.append(os.path.abspath(Path(out_dir, os.path.basename(folders[0]))))  # which may be the same one
    return list(map(Path, dict.fromkeys(folders)))


def check_work_dir(cfg: Config, must_resume: bool = False, overwrite: bool = False) -> None:
    """Refuse to mix a new run with another one that saved a checkpoint or logged a training step.

    One that the launcher has started again holds the work dir as its own: that was looked at before.

    Args:
        must_resume: A checkpoint is asked for, so that there must be one; a config's own ``resume=True`` starts anew if not.
        overwrite: Move what is there to a folder ``replaced_TIME`` beside it: kept, but never resumed from.

    Raises:
        CheckpointError: If there is none to resume.
        ConfigError: If another run is there.
    """
    if restart():
        return
    folders = checkpoint_folders(cfg, cfg.work_dir)
    if must_resume and not any(checkpoints_in(*folders)):
        raise CheckpointError('no checkpoint to resume', cfg.work_dir, 'drop --resume to start anew')
    if cfg.get('resume'):
        return
    found = [path for folder in folders for path in folder.glob('*.pth')]
    found += [path.parents[1] for path in folders[0].glob('*/vis_data/scalars.json')]
    if found and overwrite:
        if is_first(cfg):
            name = f'replaced_{datetime.now():%Y%m%d_%H%M%S}'
            for path in [*found, *folders[0].glob('last_checkpoint')]:
                path.with_name(name).mkdir(exist_ok=True)
                path.rename(path.with_name(name) / path.name)
    elif found:
        newest = next(checkpoints_in(*folders), max(found, key=lambda path: path.stat().st_mtime))
        raise ConfigError(f'{cfg.work_dir!r} holds another run ({newest.name}), which would be mixed with this', 'work_dir',
                          'continue it with --resume, choose another --work-dir, or start anew in it with --overwrite')
