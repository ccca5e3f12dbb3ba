"""Child registries of the hosts'.

Their scope equals the package name: mmengine imports ``<scope>.registry`` for a prefixed type, so
``type='nepa_mm.NEPAViT'`` works in any mm config without ``custom_imports``.
"""
from functools import partial
from importlib import import_module
from importlib.util import find_spec

import mmengine.registry as theirs
from mmengine.registry import Registry
from mmpretrain.registry import BATCH_AUGMENTS as MMPRETRAIN_BATCH_AUGMENTS


class WithMMSeg(Registry):
    """Has classes made of mmseg's too: imported, with all of mmseg, once one is asked for that is nowhere else."""

    def __init__(self, *args, late: str, **kwargs) -> None:
        super().__init__(*args, **kwargs)
        self.late = late

    def get(self, key: str):
        found = super().get(key)
        if found is None and find_spec('mmseg'):
            import_module(self.late)
            found = super().get(key)
        return found


def child_of(parent: Registry, name: str, *rooms: str, with_mmseg: str | None = None) -> Registry:
    """A registry that looks into our rooms first, then where its parent does, and into a module that takes mmseg last."""
    kind = Registry if with_mmseg is None else partial(WithMMSeg, late=f'nepa_mm.{with_mmseg}')
    return kind(name, parent=parent, scope='nepa_mm', locations=[f'nepa_mm.{room}' for room in rooms])


DATASETS = child_of(theirs.DATASETS, 'dataset', 'datasets', with_mmseg='datasets.sources.seg_pairs')
DATA_SAMPLERS = child_of(theirs.DATA_SAMPLERS, 'data sampler', 'datasets')
TRANSFORMS = child_of(theirs.TRANSFORMS, 'transform', 'datasets', with_mmseg='datasets.transforms.segmentation')
FUNCTIONS = child_of(theirs.FUNCTIONS, 'function', 'datasets')
BATCH_AUGMENTS = child_of(MMPRETRAIN_BATCH_AUGMENTS, 'batch augment', 'datasets')  # a root of its own in mmpretrain
HOOKS = child_of(theirs.HOOKS, 'hook', 'engine')
LOOPS = child_of(theirs.LOOPS, 'loop', 'engine', 'evaluation')
METRICS = child_of(theirs.METRICS, 'metric', 'evaluation', with_mmseg='evaluation.exact_iou_metric')
MODELS = child_of(theirs.MODELS, 'model', 'models', 'engine', with_mmseg='models.dense.with_mmseg')
MODEL_WRAPPERS = child_of(theirs.MODEL_WRAPPERS, 'model wrapper', 'engine')
OPTIM_WRAPPERS = child_of(theirs.OPTIM_WRAPPERS, 'optimizer wrapper', 'engine')
OPTIM_WRAPPER_CONSTRUCTORS = child_of(theirs.OPTIM_WRAPPER_CONSTRUCTORS, 'optimizer wrapper constructor', 'engine')
PARAM_SCHEDULERS = child_of(theirs.PARAM_SCHEDULERS, 'parameter scheduler', 'engine')
RUNNERS = child_of(theirs.RUNNERS, 'runner', 'engine')
