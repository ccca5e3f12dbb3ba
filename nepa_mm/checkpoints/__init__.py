from .fit import fit_state_dict
from .raw_or_ema import load_raw_or_ema, path_of
from .released import backbone_kwargs, mm_state_dict, read_released, released_state_dict

__all__ = [
    'backbone_kwargs',
    'fit_state_dict',
    'load_raw_or_ema',
    'mm_state_dict',
    'path_of',
    'read_released',
    'released_state_dict',
]
