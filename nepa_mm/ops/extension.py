"""What is imported as ``mmcv._ext``: functions by the names and with the arguments of mmcv's compiled ones.

They write into tensors that mmcv's autograd functions hand them, as those do. What is not here is refused when it is called.
"""
from collections.abc import Callable

from nepa_mm.errors import ConfigError
from nepa_mm.hosts.operators import say_operators
from nepa_mm.ops.boxes import nms
from nepa_mm.ops.deform_attention import ms_deform_attn_backward, ms_deform_attn_forward
from nepa_mm.ops.deform_conv import (
    deform_conv_backward_input,
    deform_conv_backward_parameters,
    deform_conv_forward,
    modulated_deform_conv_backward,
    modulated_deform_conv_forward,
)
from nepa_mm.ops.focal_loss import (
    sigmoid_focal_loss_backward,
    sigmoid_focal_loss_forward,
    softmax_focal_loss_backward,
    softmax_focal_loss_forward,
)
from nepa_mm.ops.pooling import roi_align_backward, roi_align_forward, roi_pool_backward, roi_pool_forward
from nepa_mm.ops.psa_mask import psamask_backward, psamask_forward

__all__ = [
    'deform_conv_backward_input', 'deform_conv_backward_parameters', 'deform_conv_forward', 'modulated_deform_conv_backward',
    'modulated_deform_conv_forward', 'ms_deform_attn_backward', 'ms_deform_attn_forward', 'nms', 'psamask_backward',
    'psamask_forward', 'roi_align_backward', 'roi_align_forward', 'roi_pool_backward', 'roi_pool_forward',
    'sigmoid_focal_loss_backward', 'sigmoid_focal_loss_forward', 'softmax_focal_loss_backward', 'softmax_focal_loss_forward']


def get_compiler_version() -> str:
    """For mmcv's report of its environment."""
    return 'none: nepa_mm.ops'


get_compiling_cuda_version = get_compiler_version


def __getattr__(name: str) -> Callable:
    """mmcv looks for each compiled function as it is imported; one that is not here raises a ConfigError when it is called."""
    if name.startswith('_'):
        raise AttributeError(name)

    def refuse(*args, **kwargs):
        raise ConfigError(f'{name!r} is not compiled in this mmcv, and nothing stands in for it', 'mmcv.ops',
                          'install an mmcv with compiled operators')

    return refuse


say_operators()
