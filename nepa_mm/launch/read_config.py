"""Read a config as all tools do: what is wrong in it, or on the command line, is said in one line."""
import argparse
import os
from pathlib import Path

from mmengine.config import Config

from nepa_mm.arguments import require_config
from nepa_mm.errors import ConfigError, first_line
from nepa_mm.find_images import IMAGE_SUFFIXES
from nepa_mm.hosts.type_names import name_of, name_types

from .config_keys import SHOWS_PLACE, check_keys
from .config_parts import FOLDERS, datasets_of, loaders_of


def read_config(path: str, options: dict | None = None) -> Config:
    """Read a config, merge --cfg-options into it, and check its keys; ConfigError if one of these is not possible."""
    require_config(path)
    try:
        cfg = name_types(Config.fromfile(path))
    except ConfigError as error:
        raise ConfigError(error.what, f'{path}, {error.where}', error.remedy) from error
    except Exception as error:  # it is code, and may raise any
        raise ConfigError(f'it cannot be read: {type(error).__name__}: {first_line(error)}', path, SHOWS_PLACE) from error
    try:
        cfg.merge_from_dict(options or {})
    except (AttributeError, KeyError, TypeError) as error:  # a part of a number or a text, an index that is not there
        raise ConfigError(f'it does not fit the config: {first_line(error)}', '--cfg-options', SHOWS_PLACE) from error
    check_keys(cfg, options or ())
    read_every_suffix(cfg)
    leave_scope_out(cfg)
    return cfg


def leave_scope_out(cfg: Config) -> None:
    """Let loaders collate in a config whose ``_base_`` is another package's, as ``'mmpretrain::...'``.

    mmengine writes ``_scope_`` into each dict of that base that has a type, and gives it to the function as an argument.
    """
    for loader in loaders_of(cfg).values():
        if isinstance(loader.get('collate_fn'), dict):
            loader.collate_fn.pop('_scope_', None)


def read_every_suffix(cfg: Config) -> None:
    """Let folders of images hold all that Pillow reads, where a dataset names no extensions: mmpretrain leaves out .webp."""
    for _, dataset in datasets_of(cfg):
        if name_of(dataset) in FOLDERS:
            dataset.setdefault('extensions', IMAGE_SUFFIXES)


def load_config(args: argparse.Namespace) -> Config:
    os.environ.setdefault('LOCAL_RANK', str(args.local_rank))
    cfg = read_config(args.config, args.cfg_options)
    cfg.launcher = args.launcher
    cfg.work_dir = args.work_dir or cfg.get('work_dir') or f'work_dirs/{Path(args.config).stem}'
    if cfg.get('default_scope') == 'mmpretrain':  # as mmpretrain's own tools do
        for loader in loaders_of(cfg).values():
            loader.setdefault('collate_fn', dict(type='default_collate'))
    return cfg


def set_loaders(cfg: Config, pin_memory: bool = True, persistent_workers: bool = True) -> None:
    """Let loaders pin memory and keep their workers where they have some, unless the config or the command says no."""
    for loader in loaders_of(cfg).values():
        loader.pin_memory = loader.get('pin_memory', True) and pin_memory
        loader.persistent_workers = (
            loader.get('persistent_workers', True) and persistent_workers and bool(loader.get('num_workers', 0)))
