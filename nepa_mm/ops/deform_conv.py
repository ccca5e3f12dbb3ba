"""Deformable convolution (arXiv 1703.06211) and with a mask (arXiv 1811.11168), by torchvision.

Inputs are [B, C, H, W], offsets [B, 2 G K, h, w] for G groups of offsets and K cells of the kernel, as y and x in turn; masks
[B, G K, h, w]. torchvision reads both numbers of groups from the shapes.
"""
from functools import partial

import torch
import torchvision
from torch import Tensor

from .gradients import gradients, wide


def deform_conv_forward(input: Tensor, weight: Tensor, offset: Tensor, output: Tensor, columns: Tensor, ones: Tensor,
                        **arguments) -> None:
    output.copy_(deformed(arguments, wide(input), wide(offset), wide(weight)))


def deform_conv_backward_input(input: Tensor, offset: Tensor, grad_output: Tensor, grad_input: Tensor, grad_offset: Tensor,
                               weight: Tensor, columns: Tensor, **arguments) -> None:
    def convolve(input, offset):
        return deformed(arguments, input, offset, wide(weight))

    for to, grad in zip((grad_input, grad_offset), gradients(convolve, (wide(input), wide(offset)), wide(grad_output))):
        to.copy_(grad)


def deform_conv_backward_parameters(input: Tensor, offset: Tensor, grad_output: Tensor, grad_weight: Tensor, columns: Tensor,
                                    ones: Tensor, scale: float, **arguments) -> None:
    convolve = partial(deformed, arguments, wide(input), wide(offset))
    grad, = gradients(convolve, [wide(torch.zeros_like(grad_weight))], wide(grad_output))  # any weight: it is linear in it
    grad_weight.add_(grad, alpha=scale)


def deformed(arguments: dict, input: Tensor, offset: Tensor, weight: Tensor) -> Tensor:
    stride, padding, dilation = ((arguments[f'{name}H'], arguments[f'{name}W']) for name in ('d', 'pad', 'dilation'))
    return torchvision.ops.deform_conv2d(input, offset, weight, None, stride, padding, dilation)


def modulated_deform_conv_forward(input: Tensor, weight: Tensor, bias: Tensor, ones: Tensor, offset: Tensor, mask: Tensor,
                                  output: Tensor, columns: Tensor, **arguments) -> None:
    output.copy_(modulated(arguments, *map(wide, (input, offset, mask, weight, bias))))


def modulated_deform_conv_backward(input: Tensor, weight: Tensor, bias: Tensor, ones: Tensor, offset: Tensor, mask: Tensor,
                                   columns: Tensor, grad_input: Tensor, grad_weight: Tensor, grad_bias: Tensor,
                                   grad_offset: Tensor, grad_mask: Tensor, grad_output: Tensor, **arguments) -> None:
    inputs = [input, offset, mask, weight] + [bias] * arguments['with_bias']
    grads = gradients(partial(modulated, arguments), [wide(each) for each in inputs], wide(grad_output))
    for to, grad in zip((grad_input, grad_offset, grad_mask, grad_weight, grad_bias), grads):
        to.copy_(grad)


def modulated(arguments: dict, input: Tensor, offset: Tensor, mask: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    stride, padding, dilation = ((arguments[f'{name}_h'], arguments[f'{name}_w']) for name in ('stride', 'pad', 'dilation'))
    bias = bias if arguments['with_bias'] else None
    return torchvision.ops.deform_conv2d(input, offset, weight, bias, stride, padding, dilation, mask)
