"""Focal loss (arXiv 1708.02002): of independent classes by torchvision, and of exclusive ones, which it lacks.

Targets are classes [N]; ``weight``, one for each class, is empty where there is none. mmcv reduces the loss itself.
"""
import torch
import torchvision
from torch import Tensor

from .gradients import gradients


def sigmoid_focal_loss_forward(input: Tensor, target: Tensor, weight: Tensor, output: Tensor, gamma: float, alpha: float) -> None:
    """Losses [N, C] of logits [N, C]; a target of C is the background."""
    output.copy_(sigmoid_focal_loss(input, target, weight, gamma, alpha))


def sigmoid_focal_loss_backward(input: Tensor, target: Tensor, weight: Tensor, grad_input: Tensor, gamma: float,
                                alpha: float) -> None:
    grad, = gradients(lambda logits: sigmoid_focal_loss(logits, target, weight, gamma, alpha), [input], torch.ones_like(input))
    grad_input.copy_(grad)


def sigmoid_focal_loss(logits: Tensor, target: Tensor, weight: Tensor, gamma: float, alpha: float) -> Tensor:
    hot = (target[:, None] == torch.arange(logits.shape[1], device=logits.device)).to(logits)
    loss = torchvision.ops.sigmoid_focal_loss(logits, hot, alpha, gamma)
    return loss * weight[target][:, None] if weight.numel() else loss


def softmax_focal_loss_forward(input: Tensor, target: Tensor, weight: Tensor, output: Tensor, gamma: float, alpha: float) -> None:
    """Losses [N] of probabilities [N, C]: -alpha (1 - p)^gamma log p; none for a target below 0."""
    p, scale = of_target(input, target, weight, alpha)
    output.copy_(-scale * (1 - p) ** gamma * p.log())


def softmax_focal_loss_backward(input: Tensor, target: Tensor, weight: Tensor, buff: Tensor, grad_input: Tensor, gamma: float,
                                alpha: float) -> None:
    """Gradients [N, C] with respect to the logits of the probabilities."""
    p, scale = of_target(input, target, weight, alpha)
    buff.copy_(scale * (gamma * (1 - p) ** (gamma - 1) * p * p.log() - (1 - p) ** gamma))
    hot = (target[:, None] == torch.arange(input.shape[1], device=input.device)).to(input)
    grad_input.copy_(buff[:, None] * (hot - input))


def of_target(probabilities: Tensor, target: Tensor, weight: Tensor, alpha: float) -> tuple[Tensor, Tensor]:
    """Probability [N] of each target, no smaller than a number that has a logarithm, and alpha [N] by its weight."""
    known = target.clamp(min=0)
    p = probabilities.gather(1, known[:, None])[:, 0].clamp(min=torch.finfo(probabilities.dtype).tiny)
    scale = alpha * (target >= 0).to(p)
    return p, scale * weight[known] if weight.numel() else scale
