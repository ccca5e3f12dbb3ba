"""The masked encoder of MAE (arXiv 2111.06377) built like NEPA's: LayerScale, 2-D RoPE and QK-norm (NEPA's Table 7).

Shapes: B batch, T patches, K patches kept, D width.
"""
import torch
from torch import Tensor, nn

from nepa_mm.errors import ConfigError
from nepa_mm.models.nepa_vit import NEPAViT
from nepa_mm.registry import MODELS


@MODELS.register_module()
class MAENEPAViT(NEPAViT):
    """:class:`NEPAViT` that hides patches of each image at random, as mmpretrain's ``MAE`` asks of its backbone.

    mmpretrain's ``MAEViT`` knows neither RoPE nor QK-norm. A patch that is kept keeps the rotation of its own place.

    Args:
        mask_ratio: Share of the patches that the encoder does not see.
        causal: False only: the patches that are kept come in a random order.
        **kwargs: Of :class:`NEPAViT`. ``out_type`` and ``out_indices`` shape the features of whole images alone.

    Raises:
        ConfigError: For a ratio out of range, causal attention or no [CLS], which MAE's decoder expects.
    """

    def __init__(self, mask_ratio: float = 0.75, causal: bool = False, **kwargs) -> None:
        if not 0 <= mask_ratio < 1:
            raise ConfigError(f'{mask_ratio} is not in [0, 1), the share of patches hidden from the encoder', 'mask_ratio',
                              'give a share, such as 0.75')
        if causal:
            raise ConfigError('True does not fit MAE, which shuffles the patches', 'causal', 'set causal=False')
        if not kwargs.get('with_cls_token', True):
            raise ConfigError('False does not fit MAE, whose decoder takes a [CLS]', 'with_cls_token', 'set with_cls_token=True')
        super().__init__(causal=causal, **kwargs)
        self.mask_ratio = mask_ratio

    def reset_parameters(self) -> None:
        """As MAE: Xavier uniform for matrices, the patch embedding seen as one; the rest as :class:`NEPAViT`."""
        super().reset_parameters()
        for module in self.modules():
            if isinstance(module, (nn.Linear, nn.Conv2d)):
                nn.init.xavier_uniform_(module.weight.data.flatten(1))

    def forward(self, x: Tensor, mask: bool | None = True) -> tuple[Tensor, ...]:
        """Encode the patches that are left.

        Args:
            x: Images [B, C, H, W].
            mask: Whether to hide patches; if not, the outputs are those of :class:`NEPAViT`.

        Returns:
            After the final norm, [CLS] and the kept patches [B, 1 + K, D] in a random order; the mask [B, T], 1 where a patch is
            hidden; and the place [B, T] of each patch in that order, in which the hidden ones come last.
        """
        if not mask:
            return super().forward(x)
        image_size = tuple(x.shape[-2:])
        cls_token, patches = self.add_position(self.embed(x), self.grid(image_size)).tensor_split([1], dim=1)
        batch, num_patches, dims = patches.shape
        num_kept = int(num_patches * (1 - self.mask_ratio))  # rounded as MAE does
        order = torch.rand(batch, num_patches, device=x.device).argsort(dim=1)  # [B, T]
        ids_restore, kept = order.argsort(dim=1), order[:, :num_kept]  # [B, T], [B, K]
        patches = patches.gather(1, kept[..., None].expand(-1, -1, dims))  # [B, K, D]
        ropes = (None if table is None else table[kept]  # [B, K, 2 * head_dim]
                 for table in self.rope_tables(image_size, x.device))
        for latent in self.run_blocks(torch.cat([cls_token, patches], dim=1), *ropes):
            pass
        return latent, (ids_restore >= num_kept).float(), ids_restore
