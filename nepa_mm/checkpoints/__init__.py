from .fit import fit_state_dict
from .released import backbone_kwargs, mm_state_dict, read_released, released_state_dict

__all__ = ['backbone_kwargs', 'fit_state_dict', 'mm_state_dict', 'read_released', 'released_state_dict']
