"""Child registries of the hosts'.

Their scope equals the package name: mmengine imports ``<scope>.registry`` for a prefixed type, so
``type='nepa_mm.NEPAViT'`` works in any mm config without ``custom_imports``.
"""
from mmengine.registry import DATA_SAMPLERS as MMENGINE_DATA_SAMPLERS
from mmengine.registry import DATASETS as MMENGINE_DATASETS
from mmengine.registry import FUNCTIONS as MMENGINE_FUNCTIONS
from mmengine.registry import HOOKS as MMENGINE_HOOKS
from mmengine.registry import LOOPS as MMENGINE_LOOPS
from mmengine.registry import METRICS as MMENGINE_METRICS
from mmengine.registry import MODEL_WRAPPERS as MMENGINE_MODEL_WRAPPERS
from mmengine.registry import MODELS as MMENGINE_MODELS
from mmengine.registry import OPTIM_WRAPPER_CONSTRUCTORS as MMENGINE_OPTIM_WRAPPER_CONSTRUCTORS
from mmengine.registry import OPTIM_WRAPPERS as MMENGINE_OPTIM_WRAPPERS
from mmengine.registry import PARAM_SCHEDULERS as MMENGINE_PARAM_SCHEDULERS
from mmengine.registry import RUNNERS as MMENGINE_RUNNERS
from mmengine.registry import STRATEGIES as MMENGINE_STRATEGIES
from mmengine.registry import TRANSFORMS as MMENGINE_TRANSFORMS
from mmengine.registry import Registry
from mmpretrain.registry import BATCH_AUGMENTS as MMPRETRAIN_BATCH_AUGMENTS

DATASETS = Registry('dataset', parent=MMENGINE_DATASETS, scope='nepa_mm', locations=['nepa_mm.datasets'])
DATA_SAMPLERS = Registry('data sampler', parent=MMENGINE_DATA_SAMPLERS, scope='nepa_mm', locations=['nepa_mm.datasets'])
TRANSFORMS = Registry('transform', parent=MMENGINE_TRANSFORMS, scope='nepa_mm', locations=['nepa_mm.datasets'])
FUNCTIONS = Registry('function', parent=MMENGINE_FUNCTIONS, scope='nepa_mm', locations=['nepa_mm.datasets'])
# Mixup and the like; a root of its own in mmpretrain
BATCH_AUGMENTS = Registry('batch augment', parent=MMPRETRAIN_BATCH_AUGMENTS, scope='nepa_mm', locations=['nepa_mm.datasets'])
HOOKS = Registry('hook', parent=MMENGINE_HOOKS, scope='nepa_mm', locations=['nepa_mm.engine'])
LOOPS = Registry('loop', parent=MMENGINE_LOOPS, scope='nepa_mm', locations=['nepa_mm.engine', 'nepa_mm.evaluation'])
METRICS = Registry('metric', parent=MMENGINE_METRICS, scope='nepa_mm', locations=['nepa_mm.evaluation'])
MODELS = Registry('model', parent=MMENGINE_MODELS, scope='nepa_mm', locations=['nepa_mm.models', 'nepa_mm.engine'])
MODEL_WRAPPERS = Registry('model wrapper', parent=MMENGINE_MODEL_WRAPPERS, scope='nepa_mm', locations=['nepa_mm.engine'])
OPTIM_WRAPPERS = Registry('optimizer wrapper', parent=MMENGINE_OPTIM_WRAPPERS, scope='nepa_mm', locations=['nepa_mm.engine'])
OPTIM_WRAPPER_CONSTRUCTORS = Registry(
    'optimizer wrapper constructor',
    parent=MMENGINE_OPTIM_WRAPPER_CONSTRUCTORS,
    scope='nepa_mm',
    locations=['nepa_mm.engine'])
PARAM_SCHEDULERS = Registry(
    'parameter scheduler',
    parent=MMENGINE_PARAM_SCHEDULERS,
    scope='nepa_mm',
    locations=['nepa_mm.engine'])
STRATEGIES = Registry(
    'strategy',
    parent=MMENGINE_STRATEGIES,
    scope='nepa_mm',
    locations=['nepa_mm.engine.parallel.fsdp_strategy'])
RUNNERS = Registry('runner', parent=MMENGINE_RUNNERS, scope='nepa_mm', locations=['nepa_mm.engine'])
