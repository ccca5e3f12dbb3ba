"""Child registries of the hosts'.

Their scope equals the package name: mmengine imports ``<scope>.registry`` for a prefixed type, so
``type='nepa_mm.NEPAViT'`` works in any mm config without ``custom_imports``.
"""
import mmengine.registry as theirs
from mmengine.registry import Registry
from mmpretrain.registry import BATCH_AUGMENTS as MMPRETRAIN_BATCH_AUGMENTS


def child_of(parent: Registry, name: str, *rooms: str) -> Registry:
    """A registry that looks into our rooms first, then where its parent does."""
    return Registry(name, parent=parent, scope='nepa_mm', locations=[f'nepa_mm.{room}' for room in rooms])


DATASETS = child_of(theirs.DATASETS, 'dataset', 'datasets')
DATA_SAMPLERS = child_of(theirs.DATA_SAMPLERS, 'data sampler', 'datasets')
TRANSFORMS = child_of(theirs.TRANSFORMS, 'transform', 'datasets')
FUNCTIONS = child_of(theirs.FUNCTIONS, 'function', 'datasets')
BATCH_AUGMENTS = child_of(MMPRETRAIN_BATCH_AUGMENTS, 'batch augment', 'datasets')  # a root of its own in mmpretrain
HOOKS = child_of(theirs.HOOKS, 'hook', 'engine')
LOOPS = child_of(theirs.LOOPS, 'loop', 'engine', 'evaluation')
METRICS = child_of(theirs.METRICS, 'metric', 'evaluation')
MODELS = child_of(theirs.MODELS, 'model', 'models', 'engine')
MODEL_WRAPPERS = child_of(theirs.MODEL_WRAPPERS, 'model wrapper', 'engine')
OPTIM_WRAPPERS = child_of(theirs.OPTIM_WRAPPERS, 'optimizer wrapper', 'engine')
OPTIM_WRAPPER_CONSTRUCTORS = child_of(theirs.OPTIM_WRAPPER_CONSTRUCTORS, 'optimizer wrapper constructor', 'engine')
PARAM_SCHEDULERS = child_of(theirs.PARAM_SCHEDULERS, 'parameter scheduler', 'engine')
RUNNERS = child_of(theirs.RUNNERS, 'runner', 'engine')
