"""timm's NaFlexViT made causal, so that NEPA trains it.

Shapes: B batch, P tokens before the patches ([CLS], registers), N patches, D width.
"""
import math

import torch
import torch.nn.functional as F
from timm.models.naflexvit import NaFlexVit, batch_patchify
from torch import Tensor, nn

from nepa_mm.errors import ConfigError
from nepa_mm.registry import MODELS

from .causal_timm_backbone import CausalTIMMBackbone


@MODELS.register_module()
class CausalNaFlexViT(CausalTIMMBackbone):
    """:class:`CausalTIMMBackbone` for timm's ``NaFlexVit`` (names that begin with ``naflexvit_``, NaViT's arXiv 2307.06304).

    Images of one batch have one size, which may be any; a batch of several sizes is for :class:`PackedNEPAViT`.

    Args:
        *args: Of :class:`CausalTIMMBackbone`.
        **kwargs: Of the same, and of the timm model, such as ``pos_embed_grid_size`` and ``patch_size``.

    Raises:
        ConfigError: For another model, and as :class:`CausalTIMMBackbone`.
    """

    def check_attention(self) -> None:
        if not isinstance(self.timm_model, NaFlexVit):
            raise ConfigError(f'{type(self.timm_model).__name__} is no NaFlexVit', self.describe,
                              'set nepa_mm.CausalTIMMBackbone')

    @property
    def stem(self) -> nn.Module:
        return self.timm_model.embeds

    def default_size(self) -> tuple[int, int]:
        grid = self.stem.pos_embed_grid_size
        if grid is None:  # without learned positions
            return tuple(self.timm_model.pretrained_cfg['input_size'][1:])
        return grid[0] * self.stem.patch_size[0], grid[1] * self.stem.patch_size[1]

    def patches(self, x: Tensor) -> Tensor:
        stem, (height, width) = self.stem, self.stem.patch_size
        if stem.dynamic_img_pad:
            x = F.pad(x, (0, -x.shape[3] % width, 0, -x.shape[2] % height))
        if not stem.is_linear:
            return stem.norm(stem.proj(x).flatten(2).transpose(1, 2))
        layout = {} if getattr(stem, 'channels_last', True) else dict(channels_last=False)  # timm 1.0.26 knows one alone
        pixels, _ = batch_patchify(x, stem.patch_size, **layout)
        return stem.norm(stem.proj(pixels if stem.norm_input is None else stem.norm_input(pixels)))

    def placed(self, patches: Tensor, image_size: tuple[int, int]) -> tuple[Tensor, Tensor | None, bool]:
        model, stem, grid = self.timm_model, self.stem, self.grid(image_size)
        x = patches.clone()  # to which timm adds in place
        if stem.pos_embed_type == 'learned':
            stem._apply_learned_pos_embed(x, grid_size=grid)
        elif stem.pos_embed_type == 'factorized':
            stem._apply_factorized_pos_embed(x, grid_size=grid)
        ahead = [token.expand(len(x), -1, -1) for token in (stem.cls_token, stem.reg_token) if token is not None]
        x = stem.pos_drop(torch.cat([*ahead, x], dim=1))
        return x, None if model.rope is None else model.rope.get_embed(shape=grid), model.rope_is_mixed

    def timm_pass(self, x: Tensor) -> Tensor:
        model, mask = self.timm_model, None
        if self.causal:  # its own pass takes a mask, not is_causal
            length = model.num_prefix_tokens + math.prod(self.grid(tuple(x.shape[-2:])))
            mask = x.new_full((length, length), -math.inf).triu(1)
        return model.forward_head(model.forward_features(x, attn_mask=mask))

    def grid(self, image_size: tuple[int, int]) -> tuple[int, int]:
        return self.stem.dynamic_feat_size(image_size)
