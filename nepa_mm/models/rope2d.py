"""2-D rotary position embedding, as in DINOv3 and the NEPA release.

timm's ``RotaryEmbeddingDinoV3`` divides by the number of patches and draws on the CPU. Here coordinates refer to the
real image area, so that padding to whole patches does not move them, and are made on the device without a copy.
"""
import math

import torch
from torch import Tensor, nn

from nepa_mm.errors import ConfigError


class RoPE2D(nn.Module):
    """Rotation tables for patches at (y, x) centres in [-1, 1].

    The angle of frequency i is ``2 * pi * coordinate / theta ** (4 * i / head_dim)``; y and x each take half of the
    frequencies. While training, coordinates are moved by random amounts drawn once per call.

    Args:
        head_dim: Width of one attention head, a multiple of 4.
        theta: Ratio of the longest to the shortest period.
        rescale: Training only: coordinates are multiplied by a log-uniform factor in [1 / rescale, rescale].
        jitter: Likewise, a factor for each axis of its own.
        shift: Training only: coordinates are moved by a uniform amount in [-shift, shift], for each axis of its own.

    Raises:
        ConfigError: For another width, or numbers out of these ranges.
    """

    def __init__(self, head_dim: int, theta: float = 100., rescale: float | None = 2., jitter: float | None = None,
                 shift: float | None = None) -> None:
        super().__init__()
        if head_dim % 4:
            raise ConfigError(f'embed_dims / num_heads = {head_dim} is not a multiple of 4, which 2-D RoPE needs', 'arch',
                              'change one of the two')
        for name, value, least in (('rescale', rescale, 1), ('jitter', jitter, 1), ('shift', shift, 0)):
            if value is not None and value < least:
                raise ConfigError(f'{value!r} is less than {least}', f'rope.{name}', f'give {least} or more, or None')
        if not theta > 0:
            raise ConfigError(f'{theta!r} is not positive', 'rope.theta', 'DINOv3 has 100')
        self.head_dim, self.theta = head_dim, theta
        self.rescale, self.jitter, self.shift = rescale, jitter, shift

    def forward(self, grid: tuple[int, int], extent: tuple[float, float], device: torch.device, moves: bool = True) -> Tensor:
        """Table [rows * columns, 2 * head_dim] for a grid of patches, float32: sines, then cosines, as timm has them.

        Args:
            grid: Rows and columns of patches.
            extent: Height and width of the real image in patches; less than ``grid`` where the last patch is padded.
            moves: False leaves coordinates in place while training, too, for what is frozen.
        """
        centres = [(torch.arange(n, device=device, dtype=torch.float32) + 0.5) / size * 2 - 1
                   for n, size in zip(grid, extent)]
        coords = torch.cartesian_prod(*centres)  # [rows * columns, 2], y then x
        if self.training and moves:
            coords = self.augment(coords)
        quarter = torch.arange(self.head_dim // 4, device=device, dtype=torch.float32)
        periods = self.theta**(quarter * 4 / self.head_dim)
        angles = (2 * math.pi * coords[:, :, None] / periods).flatten(1).tile(2)  # [rows * columns, head_dim]
        return torch.cat([angles.sin(), angles.cos()], dim=-1)

    def augment(self, coords: Tensor) -> Tensor:
        """Move coordinates [N, 2] at random: shift, then jitter, then rescale."""
        if self.shift is not None:
            coords = coords + coords.new_empty(2).uniform_(-self.shift, self.shift)
        if self.jitter is not None:
            coords = coords * log_uniform(coords.new_empty(2), self.jitter)
        if self.rescale is not None:
            coords = coords * log_uniform(coords.new_empty(1), self.rescale)
        return coords


def log_uniform(out: Tensor, limit: float) -> Tensor:
    """Fill with factors whose logarithm is uniform in [-log(limit), log(limit)]."""
    return out.uniform_(-math.log(limit), math.log(limit)).exp()
