"""PSANet's attention over a window around each cell, spread over the whole map (PSANet, ECCV 2018)."""
import torch
from torch import Tensor

COLLECT = 0  # mmcv's psa_type; the other is distribute


def psamask_forward(input: Tensor, output: Tensor, psa_type: int, **sizes) -> None:
    """Put what each cell [H, W] says of its window, [B, h w, H, W], at the cells it says it of: [B, H W, H, W].

    Collected, channel j at cell i is what i says of j; distributed, what j says of i.
    """
    place = window_cells(input, **sizes)
    maps = input.new_zeros(input.shape[0], output.shape[1] + 1, *input.shape[2:])  # the last takes what lies outside
    maps = maps.scatter_(1, place.expand_as(input), input)[:, :-1]
    output.copy_(maps if psa_type == COLLECT else maps.flatten(2).transpose(1, 2).unflatten(2, input.shape[2:]))


def psamask_backward(grad_output: Tensor, grad_input: Tensor, psa_type: int, **sizes) -> None:
    place = window_cells(grad_input, **sizes)
    if psa_type != COLLECT:
        grad_output = grad_output.flatten(2).transpose(1, 2).unflatten(2, grad_output.shape[2:])
    outside = grad_output.new_zeros(grad_output.shape[0], 1, *grad_output.shape[2:])
    grad_input.copy_(torch.cat([grad_output, outside], 1).gather(1, place.expand_as(grad_input)))


def window_cells(like: Tensor, num_: int, h_feature: int, w_feature: int, h_mask: int, w_mask: int, half_h_mask: int,
                 half_w_mask: int) -> Tensor:
    """Index [h w, H, W] of the cell that each place of a window around each cell is; H W for those outside the map."""
    def along(size: int, window: int, half: int) -> Tensor:
        return torch.arange(window, device=like.device)[:, None] + torch.arange(size, device=like.device) - half

    rows, columns = along(h_feature, h_mask, half_h_mask), along(w_feature, w_mask, half_w_mask)  # [h, H], [w, W]
    rows, columns = rows[:, None, :, None], columns[None, :, None, :]
    inside = (rows >= 0) & (rows < h_feature) & (columns >= 0) & (columns < w_feature)
    return torch.where(inside, rows * w_feature + columns, h_feature * w_feature).flatten(0, 1)
