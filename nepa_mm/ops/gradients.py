"""Backward passes by public functions alone, where mmcv asks for them as functions of their own."""
from collections.abc import Callable, Sequence

import torch
from torch import Tensor


def gradients(function: Callable[..., Tensor], inputs: Sequence[Tensor], grad_output: Tensor) -> tuple[Tensor, ...]:
    """Gradients of a function's output with respect to its inputs, of which it is computed once more."""
    with torch.enable_grad():
        inputs = [each.detach().requires_grad_() for each in inputs]
        return torch.autograd.grad(function(*inputs), inputs, grad_output)


def wide(tensor: Tensor) -> Tensor:
    """Half precision as float32, which torchvision's kernels take."""
    return tensor.to(torch.promote_types(tensor.dtype, torch.float32))
