"""What a query patch looks at and what it predicts: the triplets of the paper's Figures 5 and 9.

Shapes: B batch, H heads, L tokens, D width, h x w grid of patches, T = h * w patches.
"""
from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from torch import Tensor

from ..models import NEPAViT


@torch.no_grad()
def attention_weights(backbone: NEPAViT, x: Tensor, layer: int = -1) -> Tensor:
    """Attention weights [B, H, L, L] of one block for images [B, 3, H, W], from the weights that SDPA uses; rows sum to 1."""
    seen = {}

    def capture(attn, args):
        seen.update(tokens=args[0], rope=args[1], causal=args[2])

    attn = backbone.layers[layer].attn
    hook = attn.register_forward_pre_hook(capture)
    try:
        backbone.predict(backbone.embed(x), x.shape[-2:])
    finally:
        hook.remove()
    q, k, _ = (t.transpose(1, 2) for t in attn.queries_keys_values(seen['tokens'], seen['rope']))  # [B, H, L, d]
    scores = q @ k.transpose(-2, -1) * attn.head_dim**-0.5  # [B, H, L, L]
    if seen['causal']:
        scores = scores.masked_fill(torch.ones_like(scores[0, 0], dtype=torch.bool).triu(1), -torch.inf)
    return scores.softmax(-1)


@torch.no_grad()
def prediction_similarity(backbone: NEPAViT, x: Tensor) -> Tensor:
    """Cosine [B, T, T] of what each patch predicts with the embedding of every patch, for images [B, 3, H, W]."""
    z = backbone.embed(x)  # [B, L, D]
    z_hat = backbone.predict(z, x.shape[-2:])
    z, z_hat = (F.normalize(t[:, backbone.num_extra_tokens:], dim=-1) for t in (z, z_hat))  # [B, T, D]
    return z_hat @ z.transpose(1, 2)


def draw_query_patches(backbone: NEPAViT, x: Tensor, queries: Sequence[tuple[int, int]], layer: int = -1) -> Figure:
    """For each image and query patch: the query, the attention it pays, the similarity of its prediction to all patches.

    Args:
        backbone: In evaluation mode.
        x: Images [B, 3, H, W], normalised to [-1, 1].
        queries: (row, column) of query patches.
        layer: Block whose attention is shown, averaged over its heads.
    """
    grid, size = backbone.grid(x.shape[-2:]), backbone.patch_size
    weights = attention_weights(backbone, x, layer).mean(1)  # [B, L, L]
    prefix = backbone.num_extra_tokens
    attention, similarity = weights[:, prefix:, prefix:], prediction_similarity(backbone, x)  # [B, T, T]
    pictures = ((x + 1) / 2).clamp(0, 1).permute(0, 2, 3, 1).numpy()

    figure = Figure(figsize=(1.75 * 3 * len(queries), 1.75 * len(x) + 0.35), layout='constrained', dpi=120)
    axes = figure.subplots(len(x), 3 * len(queries), squeeze=False)
    for axis in axes.flat:
        axis.set_axis_off()
    extent = (0, grid[1] * size, grid[0] * size, 0)
    for b, picture in enumerate(pictures):
        for i, (row, column) in enumerate(queries):
            token = row * grid[1] + column
            query, attended, similar = axes[b, 3 * i:3 * i + 3]
            query.imshow(picture)
            query.add_patch(Rectangle((column * size, row * size), size, size, fill=False, edgecolor='red', linewidth=2))
            paid = attention[b, token].reshape(grid).numpy().copy()
            if backbone.causal:
                paid.flat[token + 1:] = np.nan  # not seen yet: left grey
            attended.imshow(np.full((*grid, 3), 0.85), extent=extent)
            attended.imshow(paid, cmap='viridis', vmin=0, extent=extent)
            shown = similar.imshow(similarity[b, token].reshape(grid), cmap='coolwarm', vmin=-1, vmax=1, extent=extent)
            if b == 0:
                query.set_title('query', fontsize=9)
                attended.set_title('attention (bright: more)', fontsize=9)
                similar.set_title('similarity', fontsize=9)
    figure.colorbar(shown, ax=axes, shrink=0.6, label='cosine of the prediction with each patch')
    return figure
