"""What a run needs of the machine that it begins on: checkpoints that are named, a device that can do what is asked for."""
from pathlib import Path

from mmengine.config import Config

from nepa_mm.checkpoints.storage.names import is_sharded, path_of
from nepa_mm.errors import CheckpointError, ConfigError
from nepa_mm.launch.config_parts import SPLITS, value_at


def check_checkpoints(cfg: Config, splits: tuple[str, ...] = SPLITS) -> None:
    """Checkpoints on this machine that the config names must be there."""
    for key in ('load_from', 'model.backbone.init_cfg.checkpoint')[:1 + ('train' in splits)]:
        path = value_at(cfg, key)
        if path and isinstance(path, str) and Path(path_of(path)).is_dir() and not is_sharded(Path(path_of(path))):
            raise CheckpointError(f'{path!r} is a folder', key, f'give a file; the address of a released checkpoint is hf:{path}')
        if isinstance(path, str) and ':' not in path_of(path) and not Path(path_of(path)).exists():
            raise CheckpointError(f'{path!r}: there is no such checkpoint', key,
                                  'give the path of a checkpoint' if key == 'load_from' else  # which the commands set themselves
                                  f'train it first, or give its place with --cfg-options {key}=PATH')


def check_device(cfg: Config, splits: tuple[str, ...] = SPLITS) -> None:
    """mmengine's mixed precision scales gradients on a GPU alone."""
    kind = value_at(cfg, 'optim_wrapper.type')
    if 'train' not in splits or kind not in ('AmpOptimWrapper', 'mmengine.AmpOptimWrapper'):
        return
    from mmengine.device import get_device  # with torch, which takes seconds
    if get_device() in ('cpu', 'mps'):
        raise ConfigError(f'{kind!r} needs a GPU, and there is none', 'optim_wrapper.type',
                          'train in bfloat16 by --amp (nepa_mm.Bf16OptimWrapper), which a CPU does too, or take OptimWrapper')
