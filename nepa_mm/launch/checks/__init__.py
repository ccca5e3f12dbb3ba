"""All that is checked of a config before anything is built: a new check is a function of a config and splits, and its name here.

Each raises one error for what would fail, or go wrong in silence, with the loaders of these splits, and leaves alone what it does
not know. Those of settings come first, and of data last, for listing many files takes long. A key that nothing reads is refused
before, by ``config_keys.py`` while a config is read: every tool does that, and only there it is known what --cfg-options set.
"""
from collections.abc import Callable, Iterable

from mmengine.config import Config

from .data import check_data
from .loop import check_loop
from .machine import check_checkpoints, check_device
from .metrics import check_best, check_metrics
from .mixing import check_mixing
from .numbers import check_frozen, check_numbers
from .pipelines import check_channels, check_decoding, check_timm_pixels
from .segmentation import check_segmentor

SETTINGS = (check_numbers, check_frozen, check_loop, check_metrics, check_best, check_mixing, check_segmentor,
            check_timm_pixels, check_decoding, check_channels)
MACHINE = (check_checkpoints, check_device)
DATA = (check_data, )


def check_config(cfg: Config, splits: tuple[str, ...], checks: Iterable[Callable] = (*SETTINGS, *MACHINE, *DATA)) -> None:
    """Check a config for a run with the loaders of these splits: 'train', 'val', 'test'; the error has the key."""
    for check in checks:
        check(cfg, splits)
