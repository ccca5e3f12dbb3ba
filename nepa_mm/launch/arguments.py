"""What the command lines of ``tools/train.py`` and ``tools/test.py`` share, and the config that they begin with."""
import argparse
import os
from pathlib import Path

from mmengine.config import Config

from .config_parts import SPLITS
from .read_config import Options, read_config


def add_common_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments that mm users know from both tools."""
    parser.add_argument('--work-dir', help='folder for logs and checkpoints; default: work_dirs/<config name>')
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=Options,
        help='override settings of the config, e.g. optim_wrapper.optimizer.lr=1e-4 or key="[a,b]" or key=a,b')
    parser.add_argument('--launcher', choices=['none', 'pytorch', 'slurm', 'mpi'], default='none', help='job launcher')
    parser.add_argument('--local_rank', '--local-rank', type=int, default=0, help='set by some launchers')


def load_config(args: argparse.Namespace) -> Config:
    """Read the config with its options, and set launcher and work_dir."""
    os.environ.setdefault('LOCAL_RANK', str(args.local_rank))
    cfg = read_config(args.config, args.cfg_options)
    cfg.launcher = args.launcher
    cfg.work_dir = args.work_dir or cfg.get('work_dir') or f'work_dirs/{Path(args.config).stem}'
    if cfg.get('default_scope') == 'mmpretrain':  # as mmpretrain's own tools do
        for split in SPLITS:
            if cfg.get(f'{split}_dataloader'):
                cfg[f'{split}_dataloader'].setdefault('collate_fn', dict(type='default_collate'))
    return cfg


def set_loaders(cfg: Config, pin_memory: bool = True, persistent_workers: bool = True) -> None:
    """Let loaders pin memory and keep their workers where they have some, unless the config or the command says no."""
    for loader in filter(None, (cfg.get(f'{split}_dataloader') for split in SPLITS)):
        loader.pin_memory = loader.get('pin_memory', True) and pin_memory
        loader.persistent_workers = (
            loader.get('persistent_workers', True) and persistent_workers and bool(loader.get('num_workers', 0)))
