"""What ``tools/train.py`` and ``tools/test.py`` share: reading a config, checks before anything is built, start-up."""
import argparse
import atexit
import gc
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from multiprocessing import active_children
from pathlib import Path

import torch
from mmengine.config import Config
from mmengine.registry import RUNNERS
from mmengine.runner import Runner

from nepa_mm.checkpoints import path_of
from nepa_mm.errors import CheckpointError, ConfigError

from .config_keys import naming_arguments
from .read_config import Options, read_config

# Numbers that others would notice late or not at all: key, kind and least value
LEAST = (('optim_wrapper.optimizer.lr', (int, float), 0), ('train_cfg.max_epochs', int, 1), ('train_cfg.max_iters', int, 1),
         ('optim_wrapper.clip_grad.max_norm', (int, float), 0), ('randomness.seed', int, 0),
         ('default_hooks.checkpoint.interval', int, -1), ('default_hooks.checkpoint.max_keep_ckpts', int, -1),
         ('default_hooks.loader_faults.max_bad_images', int, 0), ('default_hooks.loader_faults.timeout', (int, float), 0))


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
        for split in ('train', 'val', 'test'):
            if cfg.get(f'{split}_dataloader'):
                cfg[f'{split}_dataloader'].setdefault('collate_fn', dict(type='default_collate'))
    return cfg


def set_loaders(cfg: Config, pin_memory: bool = True, persistent_workers: bool = True) -> None:
    """Let loaders pin memory and keep their workers where they have some, unless the config or the command says no."""
    for loader in filter(None, (cfg.get(f'{split}_dataloader') for split in ('train', 'val', 'test'))):
        loader.pin_memory = loader.get('pin_memory', True) and pin_memory
        loader.persistent_workers = (
            loader.get('persistent_workers', True) and persistent_workers and bool(loader.get('num_workers', 0)))


def build_runner(cfg: Config) -> Runner:
    """Build the runner; where a distributed launch meets a machine without a GPU, on gloo."""
    unused = dict(find_unused_parameters=cfg.get('find_unused_parameters', False))
    if cfg.get('model_wrapper_cfg'):
        cfg.model_wrapper_cfg = {**unused, **cfg.model_wrapper_cfg}  # mmengine would forget it
    if cfg.launcher == 'pytorch' and not torch.cuda.is_available():
        # mmengine would ask for a GPU here and when it wraps the model.
        timeout = value_at(cfg, 'env_cfg.dist_cfg.timeout')  # seconds, as of mmengine's own launch
        torch.distributed.init_process_group('gloo', timeout=timeout and timedelta(seconds=timeout))
        atexit.register(end_process_group)
        cfg.model_wrapper_cfg = {**(cfg.get('model_wrapper_cfg') or unused), 'type': 'nepa_mm.CPUDistributedDataParallel'}
    return RUNNERS.build(cfg) if 'runner_type' in cfg else Runner.from_cfg(cfg)


def end_process_group() -> None:
    """Stop gloo's threads, which otherwise now and then abort a process that has done its work."""
    for worker in active_children():  # their queues are collected before their loader, which then waits 5 s for each
        worker.terminate()
    gc.collect()  # the wrapped model holds the group, and the runner, in a cycle with its hooks, the model
    torch.distributed.destroy_process_group()


def check_checkpoint(cfg: Config, key: str) -> None:
    """A checkpoint on this machine that the config names must be there."""
    path = value_at(cfg, key)
    if path and isinstance(path, str) and Path(path_of(path)).is_dir():
        raise CheckpointError(f'{path!r} is a folder', key, f'give a file; the address of a released checkpoint is hf:{path}')
    if isinstance(path, str) and ':' not in path_of(path) and not Path(path_of(path)).is_file():
        raise CheckpointError(f'{path!r}: there is no such checkpoint', key,
                              f'train it first, or give its place with --cfg-options {key}=PATH')


def value_at(cfg: Config, key: str):
    """What the config has at a dotted key; None if it has nothing there."""
    value = cfg
    for part in key.split('.'):
        if isinstance(value, (list, tuple)):
            value = value[int(part)] if part.isdigit() else None
        else:
            value = value.get(part) if isinstance(value, (dict, Config)) else None
    return value


def check_frozen(cfg: Config) -> None:
    """Frozen weights must come from somewhere: those drawn at random would stay so, and nothing would say it."""
    frozen = value_at(cfg, 'model.backbone.frozen_stages')
    kind = value_at(cfg, 'model.backbone.type') or ''
    if kind.startswith('nepa_mm.') and isinstance(frozen, int) and frozen >= 0 and not (
            cfg.get('load_from') or cfg.get('resume') or value_at(cfg, 'model.backbone.init_cfg')):
        raise ConfigError(f'{frozen} freezes a patch embedding that no checkpoint gives', 'model.backbone.frozen_stages',
                          'set model.backbone.init_cfg or load_from, or train it: --cfg-options model.backbone.frozen_stages=-1')


def check_numbers(cfg: Config, splits: tuple[str, ...] = ('train', 'val', 'test')) -> None:
    """Numbers of loaders, schedule and hooks; those of the model that contradict each other, or that others would not refuse."""
    loaders = [(f'{split}_dataloader.{name}', int, least) for split in splits
               for name, least in (('batch_size', 1), ('num_workers', 0))]
    for key, kinds, least in (*LEAST, *loaders):
        value = value_at(cfg, key)
        if value is not None and (not isinstance(value, kinds) or value < least):
            raise ConfigError(f'{value!r} is no {"whole " * (kinds is int)}number of {least} or more', key, 'give one')
    rate = value_at(cfg, 'model.backbone.drop_path_rate')
    if rate is not None and not (isinstance(rate, (int, float)) and 0 <= rate < 1):
        raise ConfigError(f'{rate!r} is not in [0, 1), the share of dropped last blocks', 'model.backbone.drop_path_rate',
                          'give a share, such as 0.1')
    head, expected = value_at(cfg, 'model.head.num_classes'), value_at(cfg, 'model.data_preprocessor.num_classes')
    if head is not None and expected is not None and head != expected:
        raise ConfigError(f'{head} differs from model.data_preprocessor.num_classes={expected}', 'model.head.num_classes',
                          'set both (and num_classes of model.train_cfg.augments) to that of the dataset')


@contextmanager
def naming_checkpoints(cfg: Config) -> Iterator[None]:
    """Add ``load_from`` to an error about the content of a checkpoint; the backbone itself names its ``init_cfg``."""
    try:
        yield
    except CheckpointError as error:
        said = class_counts(cfg, error.what)
        if cfg.get('load_from'):
            said.insert(0, 'load_from' if cfg.load_from in error.where else f'load_from={cfg.load_from!r}')
        if not said:
            raise
        raise CheckpointError(error.what, f'{error.where} ({", ".join(said)})', error.remedy) from error


def class_counts(cfg: Config, message: str) -> list[str]:
    """Keys and values of the heads that have another number of classes than a checkpoint, from the message that says so."""
    found = re.findall(r'(\w+(?:\.\d+)?)\.\S+ (?:at random|as zeros) for (\d+) classes', message)
    model = 'model.module' if value_at(cfg, 'model.module') else 'model'  # as --tta wraps it
    return [f'model.{head}.num_classes={count}' for head, count in dict(found).items()
            if str(value_at(cfg, f'{model}.{head}.num_classes')) == count]


@contextmanager
def naming_keys(cfg: Config) -> Iterator[None]:
    """Name the dotted config key in an error about an argument, which begins with its value.

    ``1.0 is ... | drop_path_rate``, or with the class that takes it, ``1 is ... | TimmMixup.num_classes``; and in what a class
    of the hosts says about its arguments.
    """
    try:
        with naming_arguments(cfg):
            yield
    except ConfigError as error:
        owner, _, argument = error.where.rpartition('.')
        for key in dotted_keys(cfg, argument) if owner == '' or owner[0].isupper() else ():
            kind = value_at(cfg, key.rpartition('.')[0] + '.type') or ''
            if re.match(re.escape(repr(value_at(cfg, key))) + r'[ :,]', error.what) and kind.endswith(owner):
                raise ConfigError(error.what, key, error.remedy) from error
        raise


def dotted_keys(cfg, name: str) -> list[str]:
    """Dotted keys of a config that end in a name."""
    keys = []
    for key, value in cfg.items() if isinstance(cfg, (dict, Config)) else enumerate(cfg):
        if key == name:
            keys.append(name)
        elif isinstance(value, (dict, list, tuple)):
            keys += [f'{key}.{inner}' for inner in dotted_keys(value, name)]
    return keys
