"""Lets Python find ``nepa_mm/ops/extension.py`` where it would find no ``mmcv._ext``."""
import sys
from importlib import import_module
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import spec_from_file_location
from pathlib import Path

from nepa_mm.errors import ConfigError

COMPILED, EXTENSION = 'mmcv._ext', Path(__file__).parents[1] / 'ops/extension.py'
# Names of mmcv.ops that work by it; the last two are plain Python that mmcv does not import without it
OPERATORS = ('nms', 'batched_nms', 'roi_align', 'roi_pool', 'sigmoid_focal_loss', 'softmax_focal_loss', 'deform_conv2d',
             'modulated_deform_conv2d', 'MultiScaleDeformableAttention', 'psa_mask', 'point_sample', 'CrissCrossAttention')
# Modules that keep what they found in mmcv.ops as they were imported
KEEP = ('mmdet.structures', 'mmseg.models')


def say_operators() -> None:
    """Log which operators stand in, where some are imported; nothing before there is a log."""
    from mmengine.logging import MMLogger, print_log  # and torch with it, which a config is read without
    if MMLogger._instance_dict and getattr(sys.modules.get(COMPILED), '__file__', None) == str(EXTENSION):
        print_log(f'mmcv has no compiled operators; nepa_mm.ops stands in for {", ".join(OPERATORS)}', 'current')


class LastFinder(MetaPathFinder):
    """Comes after all others, so a compiled module is found before."""

    def find_spec(self, name: str, path=None, target=None) -> ModuleSpec | None:
        return spec_from_file_location(name, EXTENSION) if name == COMPILED else None


def stand_in() -> None:
    """From here on ``mmcv.ops`` can be imported. Nothing changes where it could be before.

    ConfigError if mmseg's or mmdet's models were imported without operators.
    """
    if any(isinstance(finder, LastFinder) for finder in sys.meta_path) or 'mmcv.ops' in sys.modules:
        return
    late = next((name for name in KEEP if name in sys.modules), None)
    if late:
        raise ConfigError(f'{late} was imported before, and goes on without operators', 'nepa_mm.ops',
                          "import nepa_mm.ops first, or start by nepa_mm's tools")
    sys.meta_path.append(LastFinder())
    transformer = sys.modules.get('mmcv.cnn.bricks.transformer')
    if transformer:  # it would have imported them, and so registered their classes, and given one on
        transformer.MultiScaleDeformableAttention = import_module('mmcv.ops').MultiScaleDeformableAttention
