"""ViT-5 (arXiv 2602.08071) under NEPA, as birder trains and publishes it.

Shapes: B batch, R registers, T patches, L = R + 1 + T tokens, D width, d width of a head.
"""
import math

import torch
from torch import Tensor, nn

from nepa_mm.errors import ConfigError
from nepa_mm.models.block import rotations_of_all
from nepa_mm.models.nepa_vit import NEPAViT
from nepa_mm.registry import MODELS


@MODELS.register_module()
class ViT5(NEPAViT):
    """:class:`NEPAViT` with RMSNorm for LayerNorm, and registers that stand before [CLS] and have rotations of their own.

    The defaults are birder's ``rope_vit5_reg4_b16``, whose weights NEPA trained. Positions are learned and rotary.

    Args:
        num_registers: Learned tokens before [CLS].
        theta: Of the patches' rotations, :class:`RowColumnRoPE`.
        register_theta: Of the registers', which lie in a square if their number is one, else in a column.
        **kwargs: Of :class:`NEPAViT`, but for ``rope``.

    Raises:
        ConfigError: As :class:`NEPAViT`, and without registers.
    """

    def __init__(self, arch: str | dict = 'base', patch_size: int = 16, num_registers: int = 4, theta: float = 10000.,
                 register_theta: float = 100., qk_norm: str | None = 'affine', qkv_bias: bool = False, norm_eps: float = 1e-6,
                 use_abs_pos_embed: bool = True, layer_scale_init_value: float | None = 1e-4, **kwargs) -> None:
        if num_registers < 1:
            raise ConfigError(f'{num_registers} is not positive', 'num_registers', 'give how many tokens stand before [CLS]')
        super().__init__(arch, patch_size=patch_size, rope=dict(theta=theta), qk_norm=qk_norm, qkv_bias=qkv_bias,
                         norm_eps=norm_eps, use_abs_pos_embed=use_abs_pos_embed, layer_scale_init_value=layer_scale_init_value,
                         **kwargs)
        for parent in list(self.modules()):
            for name, norm in parent.named_children():
                if isinstance(norm, nn.LayerNorm):
                    setattr(parent, name, nn.RMSNorm(norm.normalized_shape, norm.eps, norm.elementwise_affine))
        self.registers = nn.Parameter(torch.zeros(1, num_registers, self.embed_dims))
        self.cls_place = num_registers
        self.num_extra_tokens += num_registers
        head_dim = self.rope.head_dim
        self.rope, self.register_rope = RowColumnRoPE(head_dim, theta), RowColumnRoPE(head_dim, register_theta)
        side = math.isqrt(num_registers)
        self.register_grid = (side, side) if side * side == num_registers else (num_registers, 1)
        self.train()  # of what is frozen, the new norms too
        for part in self.frozen_parts():
            part.requires_grad_(False)

    def embed(self, x: Tensor) -> Tensor:
        """Images [B, C, H, W] -> input tokens [B, L, D]: registers, [CLS], patch embeddings."""
        z = super().embed(x)
        return torch.cat([self.registers.expand(z.shape[0], -1, -1), z], dim=1)

    def rotations(self, table: Tensor, ahead: int = 0) -> Tensor:
        """As of :class:`NEPAViT`, with the registers' own."""
        registers = self.register_rope(self.register_grid, self.register_grid, table.device)  # [R, 2 * d]
        still = table.new_tensor([0.] * self.rope.head_dim + [1.] * self.rope.head_dim)  # [CLS], if any: sine 0, cosine 1
        cls_token = still.expand(self.num_extra_tokens - self.cls_place, -1)
        return rotations_of_all(torch.cat([registers, cls_token, table]), ahead)

    def get_layer_depth(self, param_name: str, prefix: str = '') -> tuple[int, int]:
        """As of :class:`NEPAViT`; registers are as deep as [CLS]."""
        return super().get_layer_depth(param_name.replace('registers', 'cls_token'), prefix)


class RowColumnRoPE(nn.Module):
    """Rotation tables for patches at (row, column) = 0, 1, 2, ..., as birder's RoPE models have them by default.

    The angle of frequency i is ``coordinate / theta ** (4 * i / head_dim)``. Each stands twice in a row, first all of the rows,
    then all of the columns, though what is rotated together lies half a head apart.
    """

    def __init__(self, head_dim: int, theta: float) -> None:
        super().__init__()
        self.head_dim, self.theta = head_dim, theta

    def forward(self, grid: tuple[int, int], extent: tuple[float, float], device: torch.device, moves: bool = True) -> Tensor:
        """Table [rows * columns, 2 * head_dim], float32: sines, then cosines, as of :class:`RoPE2D`; nothing is moved."""
        places = torch.cartesian_prod(*(torch.arange(n, device=device, dtype=torch.float32) for n in grid))  # [T, 2]
        quarter = torch.arange(self.head_dim // 4, device=device, dtype=torch.float32)
        frequencies = self.theta**(-4 * quarter / self.head_dim)
        angles = (places[:, :, None] * frequencies).flatten(1).repeat_interleave(2, dim=-1)  # [T, head_dim]
        return torch.cat([angles.sin(), angles.cos()], dim=-1)
