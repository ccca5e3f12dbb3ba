"""What the command line of ``tools/train.py`` sets in a config."""
import argparse
import sys

from mmengine.config import Config

from nepa_mm.checkpoints.storage.names import path_of
from nepa_mm.errors import ConfigError, is_first_process

from .config_keys import runner_class
from .read_config import set_loaders
from .relaunch import restart, say_restart


def set_training(cfg: Config, args: argparse.Namespace) -> tuple[str, ...]:
    """Make of a config the training that is asked for. Gives the splits that it reads."""
    if args.no_validate:
        cfg.val_cfg = cfg.val_dataloader = cfg.val_evaluator = None
    if args.amp:
        if not cfg.get('optim_wrapper'):
            raise ConfigError(f'--amp needs it, and {args.config} has none', 'optim_wrapper', 'give one: dict(optimizer=...)')
        cfg.optim_wrapper.type = 'nepa_mm.Bf16OptimWrapper'
        for key in ('loss_scale', 'dtype'):  # AmpOptimWrapper's
            cfg.optim_wrapper.pop(key, None)
    if args.resume is not None:
        resume_from(cfg, args.resume)
    elif args.overwrite:
        cfg.resume = False  # of the config, which would go on with what is to be moved aside
    if restart() and not is_reliable(cfg):  # ReliableRunner chooses a checkpoint itself, by what is in the files
        from mmengine.runner import find_latest_checkpoint  # with torch, which takes seconds
        newest = find_latest_checkpoint(cfg.work_dir)
        say_restart(newest)
        if newest:
            cfg.resume, cfg.load_from = True, None
    if args.allow_resume_change:
        cfg.allow_resume_change = True
    if args.auto_scale_lr:
        if 'base_batch_size' not in (cfg.get('auto_scale_lr') or {}):
            raise ConfigError(f'--auto-scale-lr needs it, and {args.config} does not set it', 'auto_scale_lr.base_batch_size',
                              'set it to the batch that the learning rate is for')
        cfg.auto_scale_lr.enable = True
    set_loaders(cfg, not args.no_pin_memory, not args.no_persistent_workers)
    return ('train', ) if args.no_validate else ('train', 'val')


def resume_from(cfg: Config, checkpoint: str) -> None:
    """Continue from a checkpoint, or with 'auto' from the newest of the work dir; another runner than ours does it its way."""
    if checkpoint != path_of(checkpoint):
        raise ConfigError(f'{checkpoint} would lose the other weights', '--resume', 'give the file without raw: or ema:')
    cfg.resume = True
    cfg.load_from = None if checkpoint == 'auto' else checkpoint
    if is_first_process() and not is_reliable(cfg):
        print(f"nepa_mm: {runner_class(cfg.get('runner_type', 'Runner')).__name__} resumes as mmengine does; to the bit only "
              "runner_type='nepa_mm.ReliableRunner' does (docs/reliability.md)", file=sys.stderr)


def is_reliable(cfg: Config) -> bool:
    """Whether the runner is a ``ReliableRunner``, which stands in a layer above."""
    name = cfg.get('runner_type', 'Runner')
    return name == 'nepa_mm.ReliableRunner' or any(
        each.__name__ == 'ReliableRunner' for each in getattr(runner_class(name), '__mro__', ()))
