"""What NEPA asks of a backbone, and a check that a backbone keeps to it.

Shapes: B batch, L tokens (one token before the patches, if any, then patches in raster order), D width.
"""
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

import torch
from mmengine.registry import DefaultScope
from torch import Tensor, nn

from nepa_mm.errors import ConfigError


class CausalBackbone(Protocol):
    """The parts of a backbone that :class:`NEPA` uses. Nothing else of it matters: blocks, norms, positions and head are free.

    Attributes:
        embed_dims: Width D.
        num_extra_tokens: Tokens before the patches in z, as [CLS] and registers; the last of them predicts patch 0.
    """
    embed_dims: int
    num_extra_tokens: int

    def embed(self, x: Tensor) -> Tensor:
        """Images [B, C, H, W] -> z [B, L, D]: what is predicted, each patch from its own pixels, before any position is added.

        With further tokens before the patches (registers), z holds the last of them alone, so that no constant is a target.
        """

    def predict(self, z: Tensor, image_size: tuple[int, int]) -> Tensor:
        """Tokens [B, L, D] of an image of H x W pixels -> z_hat [B, L, D], whose position t depends on ``z[:, :t + 1]`` only.

        Positions are added here. Patches are those of z, which NEPA may have masked; the tokens before them are the model's.
        """


def check_protocol(backbone: nn.Module) -> None:
    """Refuse a backbone that lacks a part, by a ConfigError that names the part and the backbones that have it."""
    for part in ('embed', 'predict', 'embed_dims', 'num_extra_tokens'):
        if not hasattr(backbone, part):
            raise ConfigError(f'{type(backbone).__name__} has no {part}, which NEPA asks for', 'model.backbone',
                              'choose from nepa_mm.NEPAViT, nepa_mm.CausalVisionTransformer, nepa_mm.CausalBEiTViT, '
                              'nepa_mm.CausalTIMMBackbone or write an adapter (docs/mixing.md)')


def check_causal(backbone: nn.Module, image_size: tuple[int, int], in_channels: int = 3) -> None:
    """Take gradients through one random image: no embedding shares pixels with another, no output depends on a later embedding.

    Gradients and not differences, because a small LayerScale hides a difference, and a masked weight has a gradient of exactly 0.
    Modules on the meta device hold no numbers to check and pass.

    Raises:
        ConfigError: If one does, or if outputs depend on no earlier patch, so that nothing can be told.
    """
    weight = next(backbone.parameters())
    if weight.is_meta:
        return
    random = dict(generator=torch.Generator().manual_seed(0), device='cpu')  # the training's own numbers stay as they are
    with evaluating(backbone), torch.enable_grad():
        images = torch.randn(1, in_channels, *image_size, **random).to(weight).requires_grad_()
        z = backbone.embed(images)
        split = z.shape[1] // 2
        z_hat = backbone.predict(z, image_size)
        # A sum would not do: after a LayerNorm it is constant.
        direction = torch.randn(z.shape, **random).to(z)
        early, late = (
            torch.autograd.grad((z * direction)[:, part].sum(), images, retain_graph=True)[0] != 0
            for part in (slice(backbone.num_extra_tokens, split), slice(split, None)))
        reached, seen = (  # [L], by the outputs before the split, and by the last of them
            torch.autograd.grad((z_hat * direction)[:, part].sum(), z, retain_graph=True)[0].ne(0).any(dim=2)[0]
            for part in (slice(split), split - 1))
    name = getattr(backbone, 'describe', type(backbone).__name__)
    if (early & late).any():
        raise ConfigError('patches share pixels, so that an embedding shows part of the next', name, 'use patches side by side')
    if reached[split:].any():
        raise ConfigError('outputs depend on later patches although causal=True', name, 'use another backbone or causal=False')
    earlier = seen[backbone.num_extra_tokens:split - 1]
    if len(earlier) and not earlier.any():
        raise ConfigError('outputs depend on no earlier patch, so that causal=True cannot be verified', name,
                          'give the layers other initial values (LayerScale above 0)')


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """All modules in evaluation mode for a while, then each in its own."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, mode in modes:
            module.training = mode


def warn_of_blind_outputs(causal: bool, out_type: str) -> None:
    """Warn of outputs that causal attention keeps from seeing what they stand for."""
    if not causal:
        return
    if out_type == 'cls_token':
        warnings.warn("out_type='cls_token', causal=True: [CLS] is first and sees no patch; set causal=False", stacklevel=3)
    scope = DefaultScope.get_current_instance()
    if out_type in ('featmap', 'padded_featmap') and scope is not None and scope.scope_name == 'mmseg':
        warnings.warn(f'out_type={out_type!r}, causal=True: a patch sees none after it; dense prediction wants causal=False',
                      stacklevel=3)
