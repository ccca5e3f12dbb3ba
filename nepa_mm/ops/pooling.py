"""Features of regions: RoIAlign by torchvision, RoIPool by mmcv's own rule.

Regions, ``rois``, are [R, 5] as index in the batch, x1, y1, x2, y2 in pixels of the image; features [B, C, H, W]; outputs
[R, C, h, w].
"""
from math import ceil, floor

import torchvision
from torch import Tensor

from nepa_mm.errors import ConfigError

from .gradients import gradients, wide

MAX = 0  # mmcv's pool_mode


def roi_align_forward(input: Tensor, rois: Tensor, output: Tensor, argmax_y: Tensor, argmax_x: Tensor, pool_mode: int,
                      **arguments) -> None:
    """Mean of bilinear samples (arXiv 1703.06870); ConfigError for their maximum, which torchvision lacks."""
    if pool_mode == MAX:
        raise ConfigError("RoIAlign has no pool_mode='max' without mmcv's compiled operators", 'pool_mode', "set it to 'avg'")
    output.copy_(means(wide(input), rois, **arguments))


def roi_align_backward(grad_output: Tensor, rois: Tensor, argmax_y: Tensor, argmax_x: Tensor, grad_input: Tensor, pool_mode: int,
                       **arguments) -> None:
    features = wide(grad_input.new_zeros(grad_input.shape))  # any: it is linear in them
    grad, = gradients(lambda features: means(features, rois, **arguments), [features], wide(grad_output))
    grad_input.copy_(grad)


def means(features: Tensor, rois: Tensor, aligned_height: int, aligned_width: int, spatial_scale: float, sampling_ratio: int,
          aligned: bool) -> Tensor:
    return torchvision.ops.roi_align(
        features, rois.to(features.dtype), (aligned_height, aligned_width), spatial_scale, sampling_ratio, aligned)


def roi_pool_forward(input: Tensor, rois: Tensor, output: Tensor, argmax: Tensor, pooled_height: int, pooled_width: int,
                     spatial_scale: float) -> None:
    """Maximum over the cells of each bin, and which that is (arXiv 1504.08083).

    mmcv counts the last pixel of a region in and rounds bins; torchvision rounds regions.
    """
    width = input.shape[3]
    argmax.fill_(-1)
    for i, (image, *region) in enumerate(rois.tolist()):
        x1, y1, x2, y2 = (side * spatial_scale for side in (*region[:2], region[2] + 1, region[3] + 1))
        rows, columns = bins(y1, y2, pooled_height, input.shape[2]), bins(x1, x2, pooled_width, width)
        for h, (top, bottom) in enumerate(rows):
            for w, (left, right) in enumerate(columns):
                if top < bottom and left < right:
                    found, place = input[int(image), :, top:bottom, left:right].flatten(1).max(1)
                    row, column = place // (right - left), place % (right - left)
                    output[i, :, h, w] = found
                    argmax[i, :, h, w] = (top + row) * width + left + column


def bins(start: float, end: float, count: int, cells: int) -> list[tuple[int, int]]:
    """First and past-the-last cell of each of the bins between two places, of so many cells; none of an empty region."""
    size = (end - start) / count
    edges = [(floor(i * size + start), ceil((i + 1) * size + start)) for i in range(count)] if size > 0 else []
    return [(min(max(first, 0), cells), min(max(last, 0), cells)) for first, last in edges]


def roi_pool_backward(grad_output: Tensor, rois: Tensor, argmax: Tensor, grad_input: Tensor, **arguments) -> None:
    """Each gradient goes to the cell that was the maximum."""
    filled = argmax >= 0
    region, channel, _, _ = filled.nonzero(as_tuple=True)
    batch = rois[region, 0].long()
    grad_input.flatten(2).index_put_((batch, channel, argmax[filled].long()), grad_output[filled], accumulate=True)
