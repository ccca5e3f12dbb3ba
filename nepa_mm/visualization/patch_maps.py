"""What each patch attends to and what it predicts, of any model whose backbone NEPA can train.

Shapes: B batch, H heads, L tokens (one before the patches, if any, then the patches), d width of a head, D width,
h x w grid of patches, T = h * w patches, Q chosen tokens.
"""
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from unittest.mock import patch

import torch
import torch.nn.functional as F
from mmengine.model import BaseModel
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from nepa_mm.errors import ConfigError
from nepa_mm.models import NEPA
from nepa_mm.models.causal_backbone import check_protocol, evaluating

from .read_image import are_rgb


@dataclass
class AttentionCall:
    """Arguments of one call of ``scaled_dot_product_attention``, of which the weights follow; it does not give them itself."""
    query: Tensor  # [B, H, L, d]
    key: Tensor  # [B, H, L, d]
    value: Tensor  # [B, H, L, d]
    attn_mask: Tensor | None = None  # bool, True where seen, or float, to be added; broadcasts to [B, H, L, L]
    dropout_p: float = 0.
    is_causal: bool = False
    scale: float | None = None

    def weights(self, tokens: Sequence[int] | None = None) -> Tensor:
        """Share of attention [B, H, Q, L] that chosen tokens, or all, pay to every token, in float32; rows sum to 1."""
        length, width = self.query.shape[-2:]
        rows = torch.arange(length, device=self.query.device)
        rows = rows if tokens is None else rows[list(tokens)]
        query, key = self.query[..., rows, :].float(), self.key.float()
        scores = query @ key.transpose(-2, -1) * (width**-0.5 if self.scale is None else self.scale)  # [B, H, Q, L]
        if self.is_causal:
            scores = scores.masked_fill(torch.arange(length, device=rows.device) > rows[:, None], -torch.inf)
        if self.attn_mask is not None:
            mask = self.attn_mask.expand(*self.query.shape[:-1], length)[..., rows, :]
            scores = scores.masked_fill(~mask, -torch.inf) if mask.dtype == torch.bool else scores + mask
        return scores.softmax(-1)


class AttentionCalls(TorchFunctionMode):
    """While entered, keep the arguments of each call of ``scaled_dot_product_attention``, in order: one for each layer."""

    def __init__(self) -> None:
        super().__init__()
        self.calls = []

    def __torch_function__(self, function, types, args=(), kwargs=None):
        if function is F.scaled_dot_product_attention:
            self.calls.append(AttentionCall(*args, **(kwargs or {})))
        return function(*args, **(kwargs or {}))


@contextmanager
def fused_attention(model: nn.Module) -> Iterator[None]:
    """Let attention call ``scaled_dot_product_attention``, with the same result, also where ``TIMM_FUSED_ATTN=0`` forbids it."""
    with ExitStack() as switched:
        for module in model.modules():
            for name in ('fused', 'fused_attn'):
                if getattr(module, name, None) is False:
                    switched.enter_context(patch.object(module, name, True))
        yield


def normalised_pixels(model: BaseModel, pixels: Tensor) -> Tensor:
    """Images [B, C, H, W] that :func:`pixels_of` gave, as the model's backbone takes them."""
    preprocessor = model.data_preprocessor
    # What makes timm's floats of bytes takes RGB; all others mm's BGR, which they turn as their config says
    inputs = pixels.flip(1) if are_rgb(pixels) and not getattr(preprocessor, 'takes_rgb', False) else pixels
    return preprocessor(dict(inputs=inputs, data_samples=None), False)['inputs']


def patch_size_of(backbone: nn.Module, image_size: tuple[int, int]) -> tuple[int, int]:
    """Height and width in pixels of the patches of an image of H x W pixels."""
    side = getattr(backbone, 'patch_size', None)
    if side:  # NEPAViT
        return side, side
    stem = getattr(backbone, 'stem', backbone)  # of a timm model
    patches = getattr(stem, 'patch_embed', stem)
    size = getattr(patches, 'patch_size', None) or getattr(getattr(patches, 'projection', None), 'kernel_size', None)
    return tuple(size) if size else tuple(-(-pixels // cells) for pixels, cells in zip(image_size, backbone.grid(image_size)))


class PatchMaps:
    """One pass of a model over images, in evaluation mode, and the maps that it shows: those of the paper's Figures 5 and 9.

    Args:
        model: :class:`NEPA`, or a classifier or segmentor over a backbone that NEPA can train.
        pixels: Images [B, 3, H, W], uint8, RGB, or [B, C, H, W] of such as are not; the model's own ``data_preprocessor``
            normalises them.

    Attributes:
        grid: Rows and columns of patches.
        patch_size: Height and width of a patch in pixels; the last row and column may stick out of the image.
        num_extra_tokens: Tokens before the patches, among those of a map; their indices are the first.
        num_layers, num_heads: Of the backbone.
        causal: Whether a token sees itself and those before it alone.
        predicts: Whether outputs were trained to be the next embedding. Else they are compared with one another.

    Raises:
        ConfigError: If the backbone is none of NEPA's, or does not call ``scaled_dot_product_attention``.
    """

    @torch.no_grad()
    def __init__(self, model: BaseModel, pixels: Tensor) -> None:
        backbone = model.backbone
        check_protocol(backbone)
        size = tuple(pixels.shape[-2:])
        self.grid, self.patch_size = backbone.grid(size), patch_size_of(backbone, size)
        self.num_extra_tokens, self.causal = backbone.num_extra_tokens, backbone.causal
        self.predicts = isinstance(model, NEPA)
        with evaluating(model), fused_attention(backbone), AttentionCalls() as seen:
            x = normalised_pixels(model, pixels)
            self.z = backbone.embed(x)  # [B, L, D]
            self.z_hat = backbone.predict(self.z, tuple(x.shape[-2:]))  # [B, L, D]
        if not seen.calls:
            raise ConfigError(f'{type(backbone).__name__} does not call scaled_dot_product_attention, so that its weights cannot '
                              'be seen', 'model.backbone', 'choose a NEPAViT, CausalVisionTransformer or CausalTIMMBackbone')
        self.calls, self.num_layers, self.num_heads = seen.calls, len(seen.calls), seen.calls[0].query.shape[1]

    @torch.no_grad()
    def attention(self, layer: int = -1, tokens: Sequence[int] | None = None) -> Tensor:
        """Share of attention [B, H, Q, L] that chosen tokens, or all, pay in one layer; rows sum to 1."""
        extra = self.calls[layer].query.shape[2] - self.z.shape[1]  # registers, which z leaves out
        rows = [extra + token for token in (range(self.z.shape[1]) if tokens is None else tokens)]
        return self.calls[layer].weights(rows)[..., extra:].cpu()

    @torch.no_grad()
    def similarity(self, tokens: Sequence[int] | None = None) -> Tensor:
        """Cosine [B, Q, T] of what chosen tokens, or all, predict with the embedding of every patch.

        Of a model that does not predict embeddings, the cosine of its outputs with one another.
        """
        others = self.z if self.predicts else self.z_hat
        z_hat, others = (F.normalize(t.float(), dim=-1) for t in (self.z_hat, others[:, self.num_extra_tokens:]))
        z_hat = z_hat if tokens is None else z_hat[:, list(tokens)]
        return (z_hat @ others.transpose(1, 2)).cpu()

    def token(self, patch: tuple[int, int]) -> int:
        """Index of the token of the patch in a row and column, counted from 0.

        Raises:
            ConfigError: For a patch outside the grid.
        """
        (row, column), (rows, columns) = patch, self.grid
        if not (0 <= row < rows and 0 <= column < columns):
            raise ConfigError(f'{row},{column} is outside the grid of {rows} rows and {columns} columns of patches', 'query',
                              f'choose from 0,0 to {rows - 1},{columns - 1}')
        return self.num_extra_tokens + row * columns + column
