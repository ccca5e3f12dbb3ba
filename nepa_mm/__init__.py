"""NEPA, next-embedding predictive autoregression (arXiv 2512.16922), for OpenMMLab."""
from importlib import import_module

from .hosts.host_imports import await_hosts, import_with
from .version import __version__

# Imported when they are asked for: torch alone takes seconds, which a command with a wrong argument does without.
LAZY = {'NEPA': 'models', 'NEPAViT': 'models', 'NextEmbeddingLoss': 'models', 'get_model': 'apis'}

__all__ = ['__version__', *LAZY]

# From here on no checkpoint, YAML or archive runs code as it is read: ours come with whatever reads them.
import_with('mmengine.runner', f'{__name__}.checkpoints.addresses')
import_with('mmengine.fileio', f'{__name__}.hosts.data_files')
import_with('tarfile', f'{__name__}.hosts.archives')
await_hosts()  # from here on mmpretrain knows the names of our configs, and the hosts import and say only what was asked for


def __getattr__(name: str):
    if name not in LAZY:
        raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
    return getattr(import_module(f'.{LAZY[name]}', __name__), name)
