from .addresses import load_raw_or_ema, load_released, path_of
from .fit import fit_state_dict
from .released import backbone_kwargs, mm_state_dict, read_released, released_state_dict

__all__ = [
    'backbone_kwargs',
    'fit_state_dict',
    'load_raw_or_ema',
    'load_released',
    'mm_state_dict',
    'path_of',
    'read_released',
    'released_state_dict',
]
