"""Any timm ViT or EVA made causal, so that NEPA trains it and mmpretrain's ``TIMMBackbone`` takes the weights.

Shapes: B batch, P tokens before the patches ([CLS], registers), N patches, L = N, or 1 + N if P > 0, D width, h x w grid.
"""
from inspect import signature

import torch
from mmpretrain.models import TIMMBackbone
from timm.models.naflexvit import NaFlexVit
from torch import Tensor, nn

from nepa_mm.errors import ConfigError, checked_choice
from nepa_mm.models.causal_backbone import check_causal, evaluating, warn_of_blind_outputs
from nepa_mm.registry import MODELS


@MODELS.register_module()
class CausalTIMMBackbone(TIMMBackbone):
    """mmpretrain's ``TIMMBackbone`` with causal attention and the two methods that :class:`NEPA` asks for.

    timm's ``VisionTransformer`` and ``Eva`` (ViT, DeiT, CLIP's and SigLIP's towers, DINOv2, DINOv3, EVA, EVA-02, Perception
    Encoder, ...) take ``is_causal`` since timm 1.0.26. Any size of image works with ``dynamic_img_size=True``. Registers before
    the patches stay; z holds the last token before the patches alone, whose output predicts the first patch.

    Args:
        model_name: Name of the timm model.
        causal: Each token sees itself and those before it, as a backbone under a head too; False: the parent to the last bit.
        out_type: 'raw' [B, P + N, D] as the parent, which fits no head of mmpretrain, 'cls_token' [B, D], 'avg_featmap' [B, D]
            (mean of the patch tokens) or 'featmap' [B, D, h, w], after the final norm.
        **kwargs: Of the parent, and of the timm model.

    Raises:
        ConfigError: For a model whose attention takes no ``is_causal``, that drops patches, or whose passes through this class
            and through timm differ or are not causal: that is tried on a random image, whatever the model.
    """

    def __init__(self, model_name: str, causal: bool = True, out_type: str = 'raw', **kwargs) -> None:
        super().__init__(model_name, **kwargs)
        self.causal, self.describe = causal, f'model_name={model_name!r}'
        self.out_type = checked_choice('out_type', out_type, ('raw', 'cls_token', 'avg_featmap', 'featmap'))
        warn_of_blind_outputs(causal, out_type)
        model = self.timm_model
        self.check_attention()
        if 'out_indices' in kwargs:  # which timm would take and leave unused
            raise ConfigError(f'{kwargs["out_indices"]!r} is not for CausalTIMMBackbone, which gives the last output alone',
                              'out_indices', 'leave it out')
        if isinstance(model.patch_drop, nn.Module) and not isinstance(model.patch_drop, nn.Identity):
            raise ConfigError('patch_drop_rate > 0 leaves out patches that NEPA predicts', self.describe, 'set it to 0')
        self.embed_dims, self.num_extra_tokens = model.embed_dim, min(1, model.num_prefix_tokens)
        size, channels = self.default_size(), self.stem.in_chans
        self.check_same_pass(size, channels)
        if causal:
            check_causal(self, size, channels)

    def check_attention(self) -> None:
        """Refuse a model that cannot be made causal."""
        model = self.timm_model
        if isinstance(model, NaFlexVit) or 'is_causal' not in signature(
                getattr(model, 'forward_features', model.forward)).parameters:
            other = 'set nepa_mm.CausalNaFlexViT' if isinstance(model, NaFlexVit) else (
                'choose a VisionTransformer or Eva of timm 1.0.26 or later, with features_only=False')
            raise ConfigError(f"the attention of timm's {type(model).__name__} takes no is_causal", self.describe, other)

    @property
    def stem(self) -> nn.Module:
        """The part of the timm model that makes tokens of images."""
        return self.timm_model

    def default_size(self) -> tuple[int, int]:
        """Height and width of the images that the model is made for."""
        return tuple(self.timm_model.patch_embed.img_size)

    def embed(self, x: Tensor) -> Tensor:
        """Images [B, C, H, W] -> input tokens [B, L, D]: the last token before the patches, if any, and the patch embeddings."""
        z = self.patches(x)
        return torch.cat([self.last_prefix_token().expand(z.shape[0], -1, -1), z], dim=1)

    def patches(self, x: Tensor) -> Tensor:
        """Images [B, C, H, W] -> patch embeddings [B, N, D] without positions."""
        z = self.timm_model.patch_embed(x)  # [B, N, D], or [B, h, w, D] for dynamic_img_size
        return z.reshape(z.shape[0], -1, self.embed_dims)

    def last_prefix_token(self) -> Tensor:
        """The parameter [1, 1, D] that stands just before the patches; [1, 0, D] if none does."""
        for name in ('reg_token', 'cls_token'):  # as timm orders them, from the patches back
            token = getattr(self.stem, name, None)
            if token is not None:
                return token[:, -1:]
        return next(self.parameters()).new_empty(1, 0, self.embed_dims)

    def predict(self, z: Tensor, image_size: tuple[int, int]) -> Tensor:
        """Input tokens [B, L, D] of an image of H x W pixels -> what follows each, [B, L, D], after the final norm."""
        model = self.timm_model
        x, rope, rope_mixed = self.placed(z[:, self.num_extra_tokens:], image_size)
        x = model.norm_pre(x)
        for i, block in enumerate(model.blocks):
            rotation = {} if rope is None else dict(rope=rope[i] if rope_mixed else rope)
            x = block(x, is_causal=self.causal, **rotation)
        # The norm is timm's norm or, where a head would pool, its fc_norm.
        x = model.forward_head(model.norm(x), pre_logits=True)
        return x[:, model.num_prefix_tokens - self.num_extra_tokens:]

    def placed(self, patches: Tensor, image_size: tuple[int, int]) -> tuple[Tensor, Tensor | None, bool]:
        """Patch embeddings [B, N, D] -> all tokens with positions [B, P + N, D], RoPE's tables, whether blocks differ in them."""
        model = self.timm_model
        if model.dynamic_img_size:
            patches = patches.unflatten(1, self.grid(image_size))  # [B, h, w, D]
        x = model._pos_embed(patches)  # in which timm puts its tokens before the patches
        return (*x, model.rope_mixed) if isinstance(x, tuple) else (x, None, False)

    def forward(self, x: Tensor) -> tuple[Tensor]:
        """Images [B, C, H, W] -> one output of kind ``out_type``, in a tuple as everywhere in mm."""
        return (self.format_output(self.timm_pass(x), tuple(x.shape[-2:])), )

    def timm_pass(self, x: Tensor) -> Tensor:
        """Images [B, C, H, W] -> what timm's own pass makes of them, [B, P + N, D]."""
        return self.timm_model(x, is_causal=self.causal)

    def format_output(self, x: Tensor, image_size: tuple[int, int]) -> Tensor:
        """Tokens [B, P + N, D] -> the form that ``out_type`` asks for."""
        if self.out_type == 'raw':
            return x
        if self.out_type == 'cls_token':
            return x[:, 0]
        patches = x[:, self.timm_model.num_prefix_tokens:]  # [B, N, D]
        if self.out_type == 'avg_featmap':
            return patches.mean(dim=1)
        return patches.transpose(1, 2).unflatten(2, self.grid(image_size))  # [B, D, N] -> [B, D, h, w]

    def grid(self, image_size: tuple[int, int]) -> tuple[int, int]:
        """Rows and columns of patches of an image of H x W pixels."""
        return self.timm_model.patch_embed.dynamic_feat_size(image_size)

    def get_layer_depth(self, param_name: str, prefix: str = '') -> tuple[int, int]:
        """Depth of a parameter and number of depths, counted as in mmpretrain's ViTs, for layer-wise decay."""
        num_layers = len(self.timm_model.blocks) + 2
        name = param_name.removeprefix(f'{prefix}timm_model.')
        if name == param_name:  # a head's
            return num_layers - 1, num_layers
        if name.startswith('blocks.'):
            return int(name.split('.')[1]) + 1, num_layers
        is_stem = name.startswith(('patch_embed', 'embeds', 'cls_token', 'reg_token', 'pos_embed', 'norm_pre', 'rope'))
        return (0 if is_stem else num_layers - 1), num_layers

    def check_same_pass(self, size: tuple[int, int], channels: int) -> None:
        """Refuse a model whose own pass has parts that :meth:`predict` leaves out."""
        weight = next(self.parameters())
        if weight.is_meta:  # which holds no numbers
            return
        images = torch.randn(1, channels, *size, generator=torch.Generator().manual_seed(0), device='cpu').to(weight)
        with evaluating(self), torch.no_grad():
            whole, halves = self.timm_pass(images), self.predict(self.embed(images), size)
        if not whole.isfinite().all():
            raise ConfigError('outputs are not finite, so that nothing can be verified', self.describe,
                              "initialize the weights (without weight_init='skip')")
        extra = self.timm_model.num_prefix_tokens - self.num_extra_tokens
        if whole.ndim != 3 or whole[:, extra:].shape != halves.shape or not torch.allclose(whole[:, extra:], halves, atol=1e-4):
            raise ConfigError(f"timm's {type(self.timm_model).__name__} does more than embedding, blocks and norm", self.describe,
                              'choose another model')
