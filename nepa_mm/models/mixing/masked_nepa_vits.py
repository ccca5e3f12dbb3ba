"""The encoders of MAE and SimMIM built like NEPA's: LayerScale, 2-D RoPE and QK-norm (NEPA's Table 7).

Shapes: B batch, T patches, K patches kept, D width, h x w grid of patches.
"""
import torch
from timm.layers import trunc_normal_
from torch import Tensor, nn

from nepa_mm.errors import ConfigError
from nepa_mm.models.nepa_vit import NEPAViT
from nepa_mm.registry import MODELS


@MODELS.register_module()
class MAENEPAViT(NEPAViT):
    """:class:`NEPAViT` that hides patches of each image at random, as mmpretrain's ``MAE`` asks (arXiv 2111.06377).

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


@MODELS.register_module()
class SimMIMNEPAViT(NEPAViT):
    """:class:`NEPAViT` that replaces hidden patches by a learned token, as mmpretrain's ``SimMIM`` asks (arXiv 2111.09886).

    mmpretrain has it for Swin alone. For fine-tuning, a plain :class:`NEPAViT` takes the weights with
    ``allow_unmatched=['mask_token']``.

    Args:
        causal: Attention in both directions by default: a hidden patch is filled in from all around it.
        out_type: 'featmap', which SimMIM's decoder takes; other kinds are for images without a mask.
        **kwargs: Of :class:`NEPAViT`.
    """

    def __init__(self, causal: bool = False, out_type: str = 'featmap', **kwargs) -> None:
        super().__init__(causal=causal, out_type=out_type, **kwargs)
        self.mask_token = nn.Parameter(torch.empty(1, 1, self.embed_dims), requires_grad=not self.is_frozen)
        trunc_normal_(self.mask_token, std=0.02)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> tuple[Tensor, ...]:
        """Encode images.

        Args:
            x: Images [B, C, H, W].
            mask: [B, h, w], 1 where a patch is hidden; None hides none, and the outputs are those of :class:`NEPAViT`.

        Returns:
            One output of kind ``out_type`` for each of ``out_indices``; feature maps are [B, D, h, w].

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
