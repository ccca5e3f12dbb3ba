"""NEPA, next-embedding predictive autoregression (arXiv 2512.16922), for OpenMMLab."""
from importlib import import_module

from . import checkpoints  # noqa: F401, from here on no checkpoint runs code as it loads
from .model_hub import join
from .version import __version__

# Imported when they are asked for: with them come mmpretrain and timm, which the converters do without.
LAZY = {'NEPA': 'models', 'NEPAViT': 'models', 'NextEmbeddingLoss': 'models', 'get_model': 'apis'}

__all__ = ['__version__', *LAZY]

join()  # from here on mmpretrain knows the names of our configs


def __getattr__(name: str):
    if name not in LAZY:
        raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
    return getattr(import_module(f'.{LAZY[name]}', __name__), name)
