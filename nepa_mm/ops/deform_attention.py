"""Multi-scale deformable attention (arXiv 2010.04159) on a GPU as mmcv computes it on a CPU, in plain torch.

Shapes: value [B, L, H, D / H] over the cells of all levels, locations [B, Q, H, levels, points, 2] in [0, 1] as x and y, weights
[B, Q, H, levels, points], output [B, Q, D].
"""
from torch import Tensor

from .gradients import gradients


def ms_deform_attn_forward(value: Tensor, spatial_shapes: Tensor, level_start_index: Tensor, sampling_locations: Tensor,
                           attention_weights: Tensor, im2col_step: int) -> Tensor:
    from mmcv.ops.multi_scale_deform_attn import multi_scale_deformable_attn_pytorch  # which imports this as mmcv._ext
    return multi_scale_deformable_attn_pytorch(value, spatial_shapes, sampling_locations, attention_weights)


def ms_deform_attn_backward(value: Tensor, spatial_shapes: Tensor, level_start_index: Tensor, sampling_locations: Tensor,
                            attention_weights: Tensor, grad_output: Tensor, grad_value: Tensor, grad_sampling_loc: Tensor,
                            grad_attn_weight: Tensor, im2col_step: int) -> None:
    def attend(value, sampling_locations, attention_weights):
        return ms_deform_attn_forward(
            value, spatial_shapes, level_start_index, sampling_locations, attention_weights, im2col_step)

    found = gradients(attend, (value, sampling_locations, attention_weights), grad_output)
    for to, grad in zip((grad_value, grad_sampling_loc, grad_attn_weight), found):
        to.copy_(grad)
