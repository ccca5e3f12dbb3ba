"""The transformer block of NEPA's ViT (arXiv 2512.16922, section 3.2).

Shapes: B batch, L tokens, D width.
"""
from functools import partial

from timm.layers import AttentionRope, DropPath, LayerScale, Mlp, SwiGLU, get_act_layer
from torch import Tensor, nn

# Arguments of the LayerNorm over head_dim that queries and keys pass; None leaves it out.
QK_NORMS = {
    None: None,
    'plain': dict(elementwise_affine=False),
    'affine': dict(elementwise_affine=True, bias=False),
    'affine_bias': dict(elementwise_affine=True, bias=True),
}


class Block(nn.Module):
    """Pre-norm transformer block with QK-norm, RoPE and LayerScale: ``[B, L, D] -> [B, L, D]``."""

    def __init__(self, dims: int, num_heads: int, feedforward_channels: int, num_extra_tokens: int, qk_norm: str | None,
                 qkv_bias: bool, act: str, gated_mlp: bool, layer_scale: float | None, drop_path: float,
                 norm_eps: float) -> None:
        super().__init__()
        qk_norm_args = QK_NORMS[qk_norm]
        self.ln1 = nn.LayerNorm(dims, eps=norm_eps)
        self.attn = AttentionRope(
            dims,
            num_heads,
            qkv_bias=qkv_bias,
            num_prefix_tokens=num_extra_tokens,
            qk_norm=qk_norm_args is not None,
            norm_layer=partial(nn.LayerNorm, eps=norm_eps, **(qk_norm_args or {})),
            rotate_half=True)
        self.ls1 = nn.Identity() if layer_scale is None else LayerScale(dims, layer_scale)
        self.ln2 = nn.LayerNorm(dims, eps=norm_eps)
        mlp = SwiGLU if gated_mlp else Mlp
        self.mlp = mlp(dims, feedforward_channels, act_layer=get_act_layer(act))
        self.ls2 = nn.Identity() if layer_scale is None else LayerScale(dims, layer_scale)
        self.drop_path = DropPath(drop_path) if drop_path else nn.Identity()

    def forward(self, x: Tensor, rope: Tensor | None, causal: bool) -> Tensor:
        x = x + self.drop_path(self.ls1(self.attn(self.ln1(x), rope=rope, is_causal=causal)))
        return x + self.drop_path(self.ls2(self.mlp(self.ln2(x))))
