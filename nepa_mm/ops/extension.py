"""What is imported as ``mmcv._ext``: functions by the names and with the arguments of mmcv's compiled ones.

They write into tensors that mmcv's autograd functions hand them, as those do. What is not here is refused when it is called.
"""
from collections.abc import Callable

from nepa_mm.errors import ConfigError
from nepa_mm.hosts.operators import say_operators
from nepa_mm.ops import boxes, deform_attention, deform_conv, focal_loss, pooling, psa_mask

MODULES = (boxes, deform_attention, deform_conv, focal_loss, pooling, psa_mask)


def get_compiler_version() -> str:
    """For mmcv's report of its environment."""
    return 'none: nepa_mm.ops'


get_compiling_cuda_version = get_compiler_version


def __getattr__(name: str) -> Callable:
    """mmcv looks for each compiled function as it is imported; one that is not here raises a ConfigError when it is called."""
    if name.startswith('_'):
        raise AttributeError(name)
    for module in MODULES:
        if hasattr(module, name):
            return getattr(module, name)

    def refuse(*args, **kwargs):
        raise ConfigError(f'{name!r} is not compiled in this mmcv, and nothing stands in for it', 'mmcv.ops',
                          'install an mmcv with compiled operators')

    return refuse


say_operators()
