"""mmpretrain's ViT and BEiT made causal, so that NEPA trains them and their own classes take the weights.

Parameter names are the parents': what NEPA pretrains loads into ``mmpretrain.VisionTransformer`` and ``mmpretrain.BEiTViT``.

Shapes: B batch, L tokens ([CLS], if any, then the patches in raster order), D width, h x w grid of patches.
"""
from functools import partial

import torch
import torch.nn.functional as F
from mmpretrain.models import BEiTViT, VisionTransformer
from mmpretrain.models.utils import resize_pos_embed
from torch import Tensor, nn

from nepa_mm.errors import ConfigError
from nepa_mm.models.causal_backbone import check_causal, warn_of_blind_outputs
from nepa_mm.registry import MODELS


class CausalHost:
    """Causal attention and the two halves of a forward pass, for the backbones of mmpretrain that are built like its ViT."""

    def __init__(self, causal: bool = True, out_type: str = 'raw', **kwargs) -> None:
        super().__init__(out_type=out_type, **kwargs)
        self.causal = causal
        warn_of_blind_outputs(causal, out_type)
        if causal:
            for layer in self.layers:
                self.make_causal(layer.attn)
            check_causal(self, self.img_size, self.patch_embed.projection.in_channels)

    def train(self, mode: bool = True) -> nn.Module:
        """Switch to training mode; what ``frozen_stages`` freezes stays in evaluation mode, which the parents set only once."""
        super().train(mode and self.frozen_stages < len(self.layers))
        if self.frozen_stages > 0:
            for part in (self.drop_after_pos, *self.layers[:self.frozen_stages]):
                part.eval()
        return self

    def embed(self, x: Tensor) -> Tensor:
        """Images [B, C, H, W] -> input tokens [B, L, D]: [CLS], if any, and the patch embeddings without any position."""
        z, _ = self.patch_embed(x)  # [B, h * w, D]
        if self.cls_token is not None:
            z = torch.cat([self.cls_token.expand(z.shape[0], -1, -1), z], dim=1)  # [B, 1 + h * w, D]
        return z

    def predict(self, z: Tensor, image_size: tuple[int, int]) -> Tensor:
        """Input tokens [B, L, D] of an image of H x W pixels -> what follows each, [B, L, D], after the final norm."""
        x = self.run_blocks(self.drop_after_pos(self.add_position(z, self.grid(image_size))))
        return self.ln1(x) if self.final_norm else x

    def add_position(self, z: Tensor, grid: tuple[int, int]) -> Tensor:
        """Add the position embedding, if any, resized to a grid of h x w patches, to tokens [B, L, D]."""
        if self.pos_embed is None:
            return z
        return z + resize_pos_embed(self.pos_embed, self.patch_resolution, grid, self.interpolate_mode, self.num_extra_tokens)

    def grid(self, image_size: tuple[int, int]) -> tuple[int, int]:
        """Rows and columns of patches that the patch embedding makes of an image of H x W pixels."""
        pad, conv = self.patch_embed.adaptive_padding, self.patch_embed.projection
        padded = [size + more for size, more in zip(image_size, pad.get_pad_shape(image_size) if pad else (0, 0))]
        return tuple((size + 2 * p - d * (k - 1) - 1) // s + 1
                     for size, p, d, k, s in zip(padded, conv.padding, conv.dilation, conv.kernel_size, conv.stride))


@MODELS.register_module()
class CausalVisionTransformer(CausalHost, VisionTransformer):
    """mmpretrain's ``VisionTransformer`` with causal attention and the two methods that :class:`NEPA` asks for.

    Args:
        causal: Each token sees itself and those before it, as a backbone under a head too; False: the parent to the last bit.
        out_type: As of the parent; 'raw', its default here, has no parameters that pretraining leaves out.

    Raises:
        ConfigError: If patches overlap (``patch_cfg``).
    """

    @staticmethod
    def make_causal(attention: nn.Module) -> None:
        """Let each token of an attention see itself and those before it alone."""
        attention.scaled_dot_product_attention = partial(F.scaled_dot_product_attention, is_causal=True)

    def run_blocks(self, x: Tensor) -> Tensor:
        """Tokens [B, L, D] with their position -> [B, L, D], before the final norm."""
        x = self.pre_norm(x)
        for layer in self.layers:
            x = layer(x)
        return x


@MODELS.register_module()
class CausalBEiTViT(CausalHost, BEiTViT):
    """mmpretrain's ``BEiTViT`` with causal attention and the two methods that :class:`NEPA` asks for.

    Relative position biases stay; those of later tokens are hidden with the tokens. Without them
    (``use_rel_pos_bias=False, use_abs_pos_emb=True``) images of any size work.

    Args:
        final_norm: As of the parent, whose default is False; pretraining wants one.
        **kwargs: ``causal`` and ``out_type`` as of :class:`CausalVisionTransformer`, and those of the parent.

    Raises:
        ConfigError: If patches overlap (``patch_cfg``), for relative positions without [CLS], and, when run, for images that
            relative positions do not fit.
    """

    def __init__(self, final_norm: bool = True, **kwargs) -> None:
        relative = kwargs.get('use_rel_pos_bias', True) or kwargs.get('use_shared_rel_pos_bias', False)
        if relative and not kwargs.get('with_cls_token', True):
            raise ConfigError('False does not fit relative position biases, whose tables have a row for [CLS]', 'with_cls_token',
                              'set use_rel_pos_bias=False and use_abs_pos_emb=True')
        super().__init__(final_norm=final_norm, **kwargs)
        if self.frozen_stages == len(self.layers):
            self.requires_grad_(False)  # the parent leaves the biases that all layers share

    @staticmethod
    def make_causal(attention: nn.Module) -> None:
        """Hide later tokens, and the biases of their positions with them."""
        attention.register_forward_pre_hook(hide_later_tokens, with_kwargs=True)

    def run_blocks(self, x: Tensor) -> Tensor:
        """Tokens [B, L, D] with their position -> [B, L, D], before the final norm."""
        shared_bias = None if self.rel_pos_bias is None else self.rel_pos_bias()  # [H, L, L]
        for layer in self.layers:
            x = layer(x, shared_bias)
        return x

    def grid(self, image_size: tuple[int, int]) -> tuple[int, int]:
        """Rows and columns of patches of an image of H x W pixels."""
        grid = super().grid(image_size)
        if (self.use_rel_pos_bias or self.rel_pos_bias is not None) and grid != tuple(self.patch_resolution):
            raise ConfigError(f'{self.img_size} and its relative positions do not fit an image of '
                              f'{image_size[0]}x{image_size[1]} pixels', 'img_size',
                              'set img_size, or use_rel_pos_bias=False and use_abs_pos_emb=True')
        return grid


def hide_later_tokens(attention: nn.Module, args: tuple[Tensor], kwargs: dict) -> tuple[tuple, dict]:
    """Add the causal mask to the bias [H, L, L] that ``BEiTAttention`` adds to its scores, or pass it as one."""
    length = args[0].shape[1]
    mask = args[0].new_full((length, length), -torch.inf).triu(1)  # [L, L]
    bias = kwargs.get('rel_pos_bias')
    return args, dict(kwargs, rel_pos_bias=mask if bias is None else bias + mask)
