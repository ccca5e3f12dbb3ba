"""NEPA, next-embedding predictive autoregression (arXiv 2512.16922), for OpenMMLab."""
import sys
from importlib import import_module

from .hosts.host_imports import await_hosts
from .version import __version__

# `python -m nepa_mm.doctor` says what is wrong where mmengine or torch cannot be imported, and loads no checkpoint.
if not (sys.argv[:1] == ['-m'] and f'{__name__}.doctor' in sys.orig_argv[-len(sys.argv)]):
    # From here on no checkpoint, YAML or archive runs code as it is read.
    from . import checkpoints  # noqa: F401
    from .hosts import data_files  # noqa: F401

# Imported when they are asked for: with them come mmpretrain and timm, which the converters do without.
LAZY = {'NEPA': 'models', 'NEPAViT': 'models', 'NextEmbeddingLoss': 'models', 'get_model': 'apis'}

__all__ = ['__version__', *LAZY]

await_hosts()  # from here on mmpretrain knows the names of our configs, and the hosts import and say only what was asked for


def __getattr__(name: str):
    if name not in LAZY:
        raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
    return getattr(import_module(f'.{LAZY[name]}', __name__), name)
