"""The transformer block of NEPA's ViT (arXiv 2512.16922, section 3.2).

Shapes: B batch, L tokens, D width, H heads, d = D / H width of a head.
"""
from collections.abc import Callable

import torch
import torch.nn.functional as F
from timm.layers import DropPath, LayerScale, Mlp, SwiGLU, get_act_layer, use_fused_attn
from torch import Tensor, nn

from .compiled import compiled_in_training

# Arguments of the LayerNorm over head_dim that queries and keys pass; None leaves it out.
QK_NORMS = {
    None: None,
    'plain': dict(elementwise_affine=False),
    'affine': dict(elementwise_affine=True, bias=False),
    'affine_bias': dict(elementwise_affine=True, bias=True),
}
# Causal or in both directions; a mask [B, 1, L, L], True where a token sees another; or what makes [B, H, L, d] of q, k and v
Attend = bool | Tensor | Callable[[Tensor, Tensor, Tensor], Tensor]


class Block(nn.Module):
    """Pre-norm transformer block with QK-norm, RoPE and LayerScale: ``[B, L, D] -> [B, L, D]``."""

    def __init__(self, dims: int, num_heads: int, feedforward_channels: int, qk_norm: str | None, qkv_bias: bool, act: str,
                 gated_mlp: bool, layer_scale: float | None, drop_path: float, norm_eps: float, compile: bool) -> None:
        super().__init__()
        self.ln1 = nn.LayerNorm(dims, eps=norm_eps)
        self.attn = Attention(dims, num_heads, qkv_bias, qk_norm, norm_eps)
        self.ls1 = nn.Identity() if layer_scale is None else LayerScale(dims, layer_scale)
        self.ln2 = nn.LayerNorm(dims, eps=norm_eps)
        mlp = SwiGLU if gated_mlp else Mlp
        self.mlp = mlp(dims, feedforward_channels, act_layer=get_act_layer(act))
        self.ls2 = nn.Identity() if layer_scale is None else LayerScale(dims, layer_scale)
        self.drop_path = DropPath(drop_path) if drop_path else nn.Identity()
        self.compiled = compile

    def forward(self, x: Tensor, rope: Tensor | None, causal: Attend) -> Tensor:
        scales = None
        if self.training and isinstance(self.drop_path, DropPath):
            # Drawn here: what is compiled would hold the rate of its block, and be compiled again for each.
            scales = self.drop_path(x.new_ones(len(x), 1, 1)), self.drop_path(x.new_ones(len(x), 1, 1))
        return self.transform(x, rope, causal, scales)

    @compiled_in_training
    def transform(self, x: Tensor, rope: Tensor | None, causal: Attend, scales: tuple[Tensor, Tensor] | None) -> Tensor:
        """The block, with stochastic depth by the factors [B, 1, 1] of its two branches."""
        attended = self.ls1(self.attn(self.ln1(x), rope, causal))
        x = x + (attended if scales is None else attended * scales[0])
        fed = self.ls2(self.mlp(self.ln2(x)))
        return x + (fed if scales is None else fed * scales[1])


class Attention(nn.Module):
    """Attention with QK-norm and RoPE, as :data:`Attend` says: ``[B, L, D] -> [B, L, D]``.

    timm's ``AttentionRope`` has the same parameters and, bit for bit, the same outputs. It normalises in a layout that needs
    copies, and splits [CLS] off and joins the parts again around each rotation: 33 kernels instead of 20 once compiled
    (docs/performance.md). timm's switch ``TIMM_FUSED_ATTN=0`` computes the weights as such, for tools that count or look at them.
    """

    def __init__(self, dims: int, num_heads: int, qkv_bias: bool, qk_norm: str | None, norm_eps: float) -> None:
        super().__init__()
        self.num_heads, self.head_dim = num_heads, dims // num_heads
        self.qkv = nn.Linear(dims, 3 * dims, bias=qkv_bias)
        self.q_norm, self.k_norm = (
            nn.Identity() if qk_norm is None else nn.LayerNorm(self.head_dim, eps=norm_eps, **QK_NORMS[qk_norm]) for _ in 'qk')
        self.proj = nn.Linear(dims, dims)
        self.fused = use_fused_attn()

    def forward(self, x: Tensor, rope: Tensor | None, causal: Attend) -> Tensor:
        q, k, v = (t.transpose(1, 2) for t in self.queries_keys_values(x, rope))  # [B, H, L, d]
        if callable(causal):
            x = causal(q, k, v)
        elif self.fused:
            how = dict(attn_mask=causal) if isinstance(causal, Tensor) else dict(is_causal=causal)
            x = F.scaled_dot_product_attention(q, k, v, **how)
        else:
            x = attention_weights(q, k, causal) @ v
        return self.proj(x.transpose(1, 2).flatten(2))  # [B, H, L, d] -> [B, L, D]

    def queries_keys_values(self, x: Tensor, rope: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
        """Of tokens [B, L, D] and the rotations that :func:`rotations_of_all` gives: three of [B, L, H, d] and one type."""
        q, k, v = self.qkv(x).unflatten(-1, (3, self.num_heads, self.head_dim)).unbind(2)
        q, k = self.q_norm(q), self.k_norm(k)
        if rope is not None:
            sin, cos = rope.chunk(2, dim=-1)  # [..., L, 1, d]
            q, k = (t * cos + t.roll(self.head_dim // 2, dims=-1) * sin for t in (q, k))
        return q.to(v.dtype), k.to(v.dtype), v  # norm and rotation may be of higher precision; flash attention wants one


def attention_weights(q: Tensor, k: Tensor, causal: bool | Tensor) -> Tensor:
    """Of queries and keys [B, H, L, d]: [B, H, L, L], the weights of all tokens for each, which sum to 1."""
    scores = q * q.shape[-1]**-0.5 @ k.transpose(-2, -1)
    if isinstance(causal, Tensor):
        scores = scores.masked_fill(~causal, -torch.inf)
    elif causal:
        scores = scores.masked_fill(torch.ones_like(scores[0, 0], dtype=torch.bool).triu(1), -torch.inf)
    return scores.softmax(-1)


def rotations_of_all(table: Tensor, num_extra_tokens: int) -> Tensor:
    """Rotations of the patches [..., T, 2 * d] by :class:`RoPE2D` -> of all tokens and heads [..., L, 1, 2 * d].

    An extra token, [CLS], is turned by nothing: sine 0, cosine 1. The first half of each head's sines gets the sign of the
    rotation, so that the other half of a query has only to be rolled into its place.
    """
    sin, cos = table.chunk(2, dim=-1)  # [..., T, d]
    sin = torch.cat([-sin[..., :sin.shape[-1] // 2], sin[..., sin.shape[-1] // 2:]], dim=-1)
    sin, cos = (F.pad(t, (0, 0, num_extra_tokens, 0), value=value) for t, value in ((sin, 0.), (cos, 1.)))  # [..., L, d]
    return torch.cat([sin, cos], dim=-1)[..., None, :]
