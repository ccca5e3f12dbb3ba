"""Encoders of masked image modelling that put a learned token in the place of hidden patches, built like NEPA's.

They are for mmpretrain's ``SimMIM``, ``BEiT`` (v1 and v2) and ``MaskFeat``. For fine-tuning, a plain :class:`NEPAViT` takes the
weights with ``allow_unmatched=['mask_token']``.

Shapes: B batch, L tokens, D width, h x w grid of patches.
"""
import torch
from timm.layers import trunc_normal_
from torch import Tensor, nn

from nepa_mm.errors import ConfigError
from nepa_mm.models.nepa_vit import NEPAViT
from nepa_mm.registry import MODELS


@MODELS.register_module()
class SimMIMNEPAViT(NEPAViT):
    """:class:`NEPAViT` that replaces hidden patches by a learned token, as mmpretrain's ``SimMIM`` asks (arXiv 2111.09886).

    mmpretrain has it for Swin alone.

    Args:
        causal: Attention in both directions by default: a hidden patch is filled in from all around it.
        out_type: 'featmap', which SimMIM's decoder takes; other kinds are for images without a mask.
    """

    def __init__(self, causal: bool = False, out_type: str = 'featmap', **kwargs) -> None:
        super().__init__(causal=causal, out_type=out_type, **kwargs)
        self.mask_token = nn.Parameter(torch.empty(1, 1, self.embed_dims), requires_grad=not self.is_frozen)
        trunc_normal_(self.mask_token, std=0.02)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> tuple[Tensor, ...]:
        """Images [B, C, H, W] -> one output of kind ``out_type`` for each of ``out_indices``; feature maps are [B, D, h, w].

        Args:
            mask: [B, h, w], 1 where a patch is hidden; None hides none, and the outputs are those of :class:`NEPAViT`.

        Raises:
            ConfigError: For a mask of other patches than the image has.
        """
        if mask is None:
            return super().forward(x)
        image_size = tuple(x.shape[-2:])
        grid = self.grid(image_size)
        if tuple(mask.shape[1:]) != grid or any(size % self.patch_size for size in image_size):
            raise ConfigError(f'a mask of {tuple(mask.shape[1:])} patches does not fit an image of {image_size} pixels',
                              'SimMIMMaskGenerator',
                              f'give it model_patch_size={self.patch_size} and an input_size of whole patches')
        prefix, patches = self.embed(x).tensor_split([self.num_extra_tokens], dim=1)
        hidden = mask.flatten(1)[..., None].bool()  # [B, h * w, 1]
        z = torch.cat([prefix, torch.where(hidden, self.mask_token.to(patches.dtype), patches)], dim=1)
        return self.outputs(z, image_size)


@MODELS.register_module()
class BEiTNEPAViT(SimMIMNEPAViT):
    """:class:`SimMIMNEPAViT` that gives all tokens, as mmpretrain's ``BEiT`` asks (arXiv 2106.08254).

    For BEiT v2 (arXiv 2208.06366), ``out_indices`` are the block that its neck calls early, and the last one.

    Args:
        out_type: 'raw', with [CLS], which the heads leave out.
    """
    shared_rel_pos_bias = None  # which BEiT v2's neck asks for; positions are rotations here

    def __init__(self, out_type: str = 'raw', **kwargs) -> None:
        super().__init__(out_type=out_type, **kwargs)


@MODELS.register_module()
class MaskFeatNEPAViT(BEiTNEPAViT):
    """:class:`BEiTNEPAViT` in the form that mmpretrain's ``MaskFeat`` asks for (arXiv 2112.09133).

    mmpretrain's ``HOGGenerator`` makes its cells, of ``pool`` pixels, into patches as if there were 14 x 14 or more of these. For
    patches of 14 in 224 pixels, ``pool=7`` makes 16 x 16 patches of 2 x 2 cells.
    """

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor | tuple[Tensor, ...]:
        """As of :class:`SimMIMNEPAViT`, with a mask [B, h * w], and then the last output alone, [B, L, D]."""
        if mask is None:
            return super().forward(x)
        return super().forward(x, mask.unflatten(1, self.grid(tuple(x.shape[-2:]))))[-1]
