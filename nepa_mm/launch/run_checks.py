"""What ``tools/train.py`` and ``tools/test.py`` check of a config before anything is built, and how its errors are named."""
from collections.abc import Iterator
from contextlib import contextmanager

from mmengine.config import Config

from .data_checks import check_data, naming_data
from .launch import check_checkpoint, check_frozen, check_numbers, naming_checkpoints, naming_keys
from .loop_checks import check_loop, check_metrics
from .segmentation_checks import check_segmentor


def check_run(cfg: Config, splits: tuple[str, ...]) -> None:
    """Refuse what would fail, or go wrong in silence, of the loaders of these splits and all that meets them.

    Raises:
        ConfigError, DataError, CheckpointError: With the key.
    """
    check_checkpoint(cfg, 'load_from')
    check_data(cfg, splits)
    check_numbers(cfg, splits)
    check_metrics(cfg, splits)
    check_segmentor(cfg)
    if 'train' in splits:
        check_checkpoint(cfg, 'model.backbone.init_cfg.checkpoint')
        check_frozen(cfg)
        check_loop(cfg)


@contextmanager
def naming(cfg: Config, splits: tuple[str, ...]) -> Iterator[None]:
    """Name the keys, checkpoints and data of the config in errors of what is built and run."""
    with naming_keys(cfg), naming_checkpoints(cfg), naming_data(cfg, splits):
        yield
