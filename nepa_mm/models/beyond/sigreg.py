"""SIGReg: embeddings are held to an isotropic Gaussian, so that they cannot collapse (arXiv 2511.08544, section 4)."""
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nepa_mm.models.compiled import compiled_in_training
from nepa_mm.registry import MODELS


@MODELS.register_module()
class SIGReg(nn.Module):
    """How far embeddings are from a standard normal, along random directions drawn anew at each step.

    Along each direction the Epps-Pulley statistic compares the characteristic function of the sample with that of the standard
    normal, exp(-t^2 / 2), and integrates the squared difference, weighted by exp(-t^2 / 2), over t. The sample is every token of
    the batch of this process. Two things differ from the source: what the size N of the sample adds to the squared difference is
    taken away, so that the mean over samples of a standard normal is 0, and the statistic is not multiplied by N, so that its
    weight does not depend on the batch.

    Args:
        num_projections: Directions of a step.
        num_points: Points of the integral from 0 to ``t_max``, by the trapezoidal rule; the integrand is even.
        t_max: Where the integral ends.
        loss_weight: Factor of ``sigreg_loss`` beside other losses.
        compile: Run through ``torch.compile`` while training; needs a C++ compiler.
    """

    def __init__(self, num_projections: int = 256, num_points: int = 9, t_max: float = 5., loss_weight: float = 1.,
                 compile: bool = False) -> None:
        super().__init__()
        self.num_projections, self.loss_weight, self.compiled = num_projections, loss_weight, compile
        t = torch.linspace(0, t_max, num_points)
        widths = torch.full_like(t, 2 * t_max / (num_points - 1))  # of both halves of the integral
        widths[[0, -1]] /= 2
        normal = torch.exp(-t.square() / 2)
        for name, values in dict(t=t, normal=normal, weights=widths * normal).items():
            self.register_buffer(name, values, persistent=False)

    @compiled_in_training
    def forward(self, prediction: Tensor, target: Tensor) -> dict[str, Tensor]:
        """``sigreg_loss`` of the targets [B, L, D] (batch, tokens, width), in float32; predictions are not looked at."""
        with torch.autocast(target.device.type, enabled=False):
            sample = target.float().flatten(0, 1)  # [N, D]
            directions = F.normalize(torch.randn(sample.shape[1], self.num_projections, device=sample.device), dim=0)
            along = sample @ directions  # [N, M]
            distance, size = along.new_zeros(self.num_projections), len(sample)
            for t, normal, weight in zip(self.t, self.normal, self.weights):
                angles = along * t
                real, imaginary = angles.cos().mean(0), angles.sin().mean(0)
                squared = (size * (real.square() + imaginary.square()) - 1) / (size - 1)  # of independent pairs alone
                distance = distance + weight * (squared - 2 * real * normal + normal.square())
        return dict(sigreg_loss=self.loss_weight * distance.mean())
