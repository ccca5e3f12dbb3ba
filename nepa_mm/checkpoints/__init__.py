"""Checkpoints: what they say, where they lie, the authors' format and ours; loading one runs no code of it."""
from .addresses import path_of
from .fitting.fit import fit_state_dict, untraced_settings
from .fitting.released_keys import released_state_dict
from .release.released_config import backbone_kwargs
