"""Child registries of mmengine's roots.

Their scope equals the package name: mmengine imports ``<scope>.registry`` for a prefixed type, so
``type='nepa_mm.NEPAViT'`` works in any mm config without ``custom_imports``.
"""
from mmengine.registry import LOOPS as MMENGINE_LOOPS
from mmengine.registry import MODEL_WRAPPERS as MMENGINE_MODEL_WRAPPERS
from mmengine.registry import MODELS as MMENGINE_MODELS
from mmengine.registry import OPTIM_WRAPPER_CONSTRUCTORS as MMENGINE_OPTIM_WRAPPER_CONSTRUCTORS
from mmengine.registry import OPTIM_WRAPPERS as MMENGINE_OPTIM_WRAPPERS
from mmengine.registry import PARAM_SCHEDULERS as MMENGINE_PARAM_SCHEDULERS
from mmengine.registry import Registry

LOOPS = Registry('loop', parent=MMENGINE_LOOPS, scope='nepa_mm', locations=['nepa_mm.engine'])
MODELS = Registry('model', parent=MMENGINE_MODELS, scope='nepa_mm', locations=['nepa_mm.models'])
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
