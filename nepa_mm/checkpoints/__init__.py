from .addresses import path_of
from .fit import fit_state_dict, untraced_settings
from .fit_model import fit_model, require_all, unwrapped
from .pretrained_backbone import PretrainedBackbone
from .record import variant_of
from .released import mm_state_dict, released_state_dict
from .released_config import backbone_kwargs

__all__ = [
    'PretrainedBackbone',
    'backbone_kwargs',
    'fit_model',
    'fit_state_dict',
    'mm_state_dict',
    'path_of',
    'released_state_dict',
    'require_all',
    'untraced_settings',
    'unwrapped',
    'variant_of',
]
