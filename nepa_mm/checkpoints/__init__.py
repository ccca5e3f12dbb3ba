"""Checkpoints: what they say, where they lie, the authors' format and ours; loading one runs no code of it."""
from importlib import import_module

from .storage.names import path_of

# With these comes torch.
LAZY = {'fit_state_dict': 'fitting.fit', 'untraced_settings': 'fitting.fit', 'released_state_dict': 'fitting.released_keys',
        'backbone_kwargs': 'release.released_config'}


def __getattr__(name: str):
    if name not in LAZY:
        raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
    return getattr(import_module(f'.{LAZY[name]}', __name__), name)
