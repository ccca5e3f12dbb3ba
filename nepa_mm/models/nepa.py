"""NEPA: predict the next patch embedding from the ones before it (arXiv 2512.16922, section 3).

Shapes: B batch, L tokens ([CLS], if any, then patches in raster order), D width.
"""
import torch
from mmpretrain.models import BaseSelfSupervisor
from torch import Tensor, nn

from nepa_mm.errors import ConfigError, checked_choice
from nepa_mm.registry import MODELS

from .causal_backbone import check_protocol
from .next_embedding_loss import NextEmbeddingLoss
from .normalised_patches import normalised_patches


@MODELS.register_module()
class NEPA(BaseSelfSupervisor):
    """Next-embedding predictive autoregression.

    The backbone needs two methods: ``embed(images) -> z`` and ``predict(z, image_size) -> z_hat``, both [B, L, D], where
    ``z_hat[:, t]`` sees ``z[:, :t + 1]`` only. :class:`CausalBackbone` says it exactly; :class:`NEPAViT` has them, and so have
    mmpretrain's and timm's ViTs by adapters (docs/mixing.md).

    Args:
        backbone: Config or module of a :class:`CausalBackbone`.
        head: Config or module of the loss; a plain :class:`NextEmbeddingLoss` when not given.
        mask_ratio: Share of patch embeddings replaced by a learned token in the input, never in the target
            (Table 1c; the paper's best is 0).
        target: 'embedding' of each patch, as in the paper, or 'normalised': of the patch without its mean and contrast.
        **kwargs: ``data_preprocessor``, ``init_cfg``, ... of mmpretrain's ``BaseSelfSupervisor``.

    Raises:
        ConfigError: For a ``mask_ratio`` out of range, an unknown ``target``, or a backbone that lacks one of the methods.
    """

    def __init__(self, backbone: dict | nn.Module, head: dict | nn.Module | None = None, mask_ratio: float = 0.,
                 target: str = 'embedding', **kwargs) -> None:
        if not 0 <= mask_ratio < 1:
            raise ConfigError(f'{mask_ratio} is not in [0, 1), the share of patches hidden from the input', 'mask_ratio',
                              'give a share, such as 0.4')
        if not isinstance(kwargs.get('data_preprocessor'), nn.Module):
            # Prefixed, so that the algorithm builds under any default scope.
            kwargs['data_preprocessor'] = {
                'type': 'nepa_mm.FusedSelfSupDataPreprocessor', **(kwargs.get('data_preprocessor') or {})}
        super().__init__(backbone, head=head or NextEmbeddingLoss(), **kwargs)
        check_protocol(self.backbone)
        self.mask_ratio, self.target = mask_ratio, checked_choice('target', target, ('embedding', 'normalised'))
        if target == 'normalised' and not isinstance(getattr(self.backbone, 'patch_size', None), int):
            raise ConfigError(f"'normalised' needs patch_size, which {type(self.backbone).__name__} does not have", 'target',
                              'use nepa_mm.NEPAViT')
        if mask_ratio:
            self.mask_token = nn.Parameter(torch.zeros(1, 1, self.backbone.embed_dims))

    def loss(self, inputs: Tensor, data_samples: list | None = None) -> dict[str, Tensor]:
        """Next-embedding loss of normalised images [B, 3, H, W], beside numbers that show the health of training."""
        z = self.backbone.embed(inputs)  # [B, L, D]
        z_hat = self.backbone.predict(self.mask(z), inputs.shape[-2:])  # [B, L, D]
        return self.head(z_hat, self.targets(inputs, z))

    def targets(self, inputs: Tensor, z: Tensor) -> Tensor:
        """What is to be predicted, [B, L, D]: the embeddings z, or those of the same patches without mean and contrast."""
        if self.target == 'embedding':
            return z
        return self.backbone.embed(normalised_patches(inputs, self.backbone.patch_size))

    def mask(self, z: Tensor) -> Tensor:
        """Replace ``mask_ratio`` of the patch embeddings of each image by the mask token; [CLS] stays."""
        if not self.mask_ratio:
            return z
        prefix, patches = z.tensor_split([self.backbone.num_extra_tokens], dim=1)
        rank = torch.rand(patches.shape[:2], device=z.device).argsort(dim=1)  # a random order of the patches
        hidden = rank < round(self.mask_ratio * patches.shape[1])
        patches = torch.where(hidden[..., None], self.mask_token, patches)
        return torch.cat([prefix, patches], dim=1)
