"""Encoders of masked image modelling that see the kept patches alone, built like NEPA's (NEPA's Table 7).

They are for mmpretrain's ``MAE``, ``EVA``, ``MILAN``, ``MFF`` and ``CAE``, whose own encoders know neither RoPE nor QK-norm.

Shapes: B batch, T patches, K patches kept, D width.
"""
import torch
from mmpretrain.models.utils import build_2d_sincos_position_embedding
from torch import Tensor, nn

from nepa_mm.errors import ConfigError
from nepa_mm.models.nepa_vit import NEPAViT
from nepa_mm.registry import MODELS


class KeptPatchesNEPAViT(NEPAViT):
    """:class:`NEPAViT` that can run on some patches of each image; each keeps the position and the rotation of its own place.

    Args:
        causal: False only: patches are left out, or come in a random order.
        **kwargs: Of :class:`NEPAViT`. ``out_type`` and ``out_indices`` shape the features of whole images alone.

    Raises:
        ConfigError: For causal attention or no [CLS], which the decoders expect.
    """

    def __init__(self, causal: bool = False, **kwargs) -> None:
        if causal:
            raise ConfigError('True does not fit an encoder of shuffled patches', 'causal', 'set causal=False')
        if not kwargs.get('with_cls_token', True):
            raise ConfigError('False does not fit a decoder that takes a [CLS]', 'with_cls_token', 'set with_cls_token=True')
        super().__init__(causal=causal, **kwargs)

    def reset_parameters(self) -> None:
        """As MAE: Xavier uniform for matrices, the patch embedding seen as one; the rest as :class:`NEPAViT`."""
        super().reset_parameters()
        for module in self.modules():
            if isinstance(module, (nn.Linear, nn.Conv2d)):
                nn.init.xavier_uniform_(module.weight.data.flatten(1))

    def encode(self, x: Tensor, kept: Tensor) -> Tensor:
        """Images [B, C, H, W] and places [B, K] -> [CLS] and the patches there, after the final norm, [B, 1 + K, D]."""
        for latent in self.run_rotated(*self.kept_tokens(x, kept), causal=False):
            pass
        return latent

    def kept_tokens(self, x: Tensor, kept: Tensor) -> tuple[Tensor, Tensor | None, Tensor | None]:
        """Likewise -> the tokens that the blocks take [B, 1 + K, D], and their rotations in blocks that train and frozen ones."""
        image_size = tuple(x.shape[-2:])
        cls_token, patches = self.add_position(self.embed(x), self.grid(image_size)).tensor_split([1], dim=1)
        patches = patches.gather(1, kept[..., None].expand(-1, -1, patches.shape[-1]))  # [B, K, D]
        rotations = (table if table is None else self.rotations(table[kept]) for table in self.rope_tables(image_size, x.device))
        return torch.cat([cls_token, patches], dim=1), *rotations


@MODELS.register_module()
class MAENEPAViT(KeptPatchesNEPAViT):
    """:class:`NEPAViT` that hides patches of each image at random, as mmpretrain's ``MAE`` asks (arXiv 2111.06377).

    Args:
        mask_ratio: Share of the patches that the encoder does not see.

    Raises:
        ConfigError: For a ratio out of range.
    """

    def __init__(self, mask_ratio: float = 0.75, **kwargs) -> None:
        if not 0 <= mask_ratio < 1:
            raise ConfigError(f'{mask_ratio} is not in [0, 1), the share of patches hidden from the encoder', 'mask_ratio',
                              'give a share, such as 0.75')
        super().__init__(**kwargs)
        self.mask_ratio = mask_ratio

    def split(self, order: Tensor) -> tuple[Tensor, Tensor]:
        """All places in some order [B, T] -> the first ones, which are kept, [B, K], and those that are hidden."""
        return order.tensor_split([int(order.shape[1] * (1 - self.mask_ratio))], dim=1)  # rounded as MAE does

    def drawn(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Of images [B, C, H, W]: places that are kept [B, K], the mask and the order that :meth:`forward` returns."""
        rows, columns = self.grid(tuple(x.shape[-2:]))
        order = torch.rand(len(x), rows * columns, device=x.device).argsort(dim=1)  # [B, T]
        kept, ids_restore = self.split(order)[0], order.argsort(dim=1)
        return kept, (ids_restore >= kept.shape[1]).float(), ids_restore

    def forward(self, x: Tensor, mask: bool | None = True) -> tuple[Tensor, ...]:
        """Encode the patches of images [B, C, H, W] that are left.

        Args:
            mask: Whether to hide patches; if not, the outputs are those of :class:`NEPAViT`.

        Returns:
            After the final norm, [CLS] and the kept patches [B, 1 + K, D] in a random order; the mask [B, T], 1 where a patch is
            hidden; and the place [B, T] of each patch in that order, in which the hidden ones come last.
        """
        if not mask:
            return super().forward(x)
        kept, mask, ids_restore = self.drawn(x)
        return self.encode(x, kept), mask, ids_restore


@MODELS.register_module()
class MFFNEPAViT(MAENEPAViT):
    """:class:`MAENEPAViT` whose decoder gets several blocks' outputs in one, as mmpretrain's ``MFF`` asks (arXiv 2308.00261).

    For fine-tuning, a plain :class:`NEPAViT` takes the weights with ``allow_unmatched=['proj_*']``.

    Args:
        out_indices: Two or more blocks whose outputs are summed, the last one among them.

    Raises:
        ConfigError: For other blocks.
    """

    def __init__(self, out_indices: list[int], **kwargs) -> None:
        super().__init__(out_indices=out_indices, **kwargs)
        self.levels = sorted(set(self.out_indices))
        if len(self.levels) < 2 or self.levels[-1] != self.num_layers - 1:
            raise ConfigError(f'{out_indices} is not two or more of {self.num_layers} blocks with the last one', 'out_indices',
                              f'end it with {self.num_layers - 1}')
        self.proj_layers = nn.ModuleList(nn.Linear(self.embed_dims, self.embed_dims) for _ in self.levels[:-1])
        for layer in self.proj_layers:
            nn.init.xavier_uniform_(layer.weight)
        self.proj_weights = nn.Parameter(torch.ones(len(self.levels), 1, 1, 1))

    def forward(self, x: Tensor, mask: bool | None = True) -> tuple[Tensor, ...]:
        """As of :class:`MAENEPAViT`, of the levels' sum; fourth come the weights of the levels [len(out_indices)]."""
        if not mask:
            return super().forward(x, mask)
        kept, mask, ids_restore = self.drawn(x)
        states = enumerate(self.run_without_norm(*self.kept_tokens(x, kept), causal=False))
        *early, last = (state for i, state in states if i in self.levels)
        early = [project(state) for project, state in zip(self.proj_layers, early)]
        weights = self.proj_weights.softmax(dim=0)
        return self.norm((weights * torch.stack([*early, last])).sum(dim=0)), mask, ids_restore, weights.flatten()


@MODELS.register_module()
class MILANNEPAViT(MAENEPAViT):
    """:class:`MAENEPAViT` that more often keeps what CLIP attends to, as mmpretrain's ``MILAN`` asks (arXiv 2208.06049)."""

    def forward(self, x: Tensor, importance: Tensor | None = None) -> tuple[Tensor, ...]:
        """Encode the patches of images [B, C, H, W] that are left.

        Args:
            importance: Weights [B, T] by which patches are drawn; None hides none, and the outputs are those of :class:`NEPAViT`.

        Returns:
            [CLS] and the kept patches [B, 1 + K, D] as of :class:`MAENEPAViT`; the place [B, T] of each patch in their order;
            and the places of the kept ones [B, K] and of the hidden ones [B, T - K].
        """
        if importance is None:
            return super().forward(x, mask=None)
        order = importance.multinomial(importance.shape[1])  # [B, T]
        kept, hidden = self.split(order)
        return self.encode(x, kept), order.argsort(dim=1), kept, hidden


@MODELS.register_module()
class CAENEPAViT(KeptPatchesNEPAViT):
    """:class:`NEPAViT` that takes its mask from outside, as mmpretrain's ``CAE`` asks (arXiv 2202.03026).

    CAE's regressor asks for positions of the patches, which come from sines and are no part of a checkpoint. The encoder itself
    has RoPE, as always.

    Args:
        img_size: Of all images in pretraining, in pixels.

    Raises:
        ConfigError: For ``use_abs_pos_embed``, whose place the positions take.
    """

    def __init__(self, img_size: int | tuple[int, int] = 224, **kwargs) -> None:
        if kwargs.get('use_abs_pos_embed'):
            raise ConfigError('True does not fit CAE, whose regressor takes positions that are fixed', 'use_abs_pos_embed',
                              'set it to False')
        super().__init__(img_size=img_size, **kwargs)
        del self.pos_embed
        # In its order a column comes after the other, here a row: turned round it fits a grid that is no square too
        position = build_2d_sincos_position_embedding(self.stored_grid[::-1], self.embed_dims, cls_token=True)
        self.register_buffer('pos_embed', position, persistent=False)  # [1, 1 + T, D]

    def add_position(self, z: Tensor, grid: tuple[int, int]) -> Tensor:
        """Tokens [B, L, D] as they are: positions are the rotations."""
        return z

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor | tuple[Tensor, ...]:
        """Images [B, C, H, W] -> [CLS] and the patches that are left, in raster order, after the final norm [B, 1 + K, D].

        Args:
            mask: [B, T], True where a patch is hidden, as many in each image; None hides none, and the outputs are those of
                :class:`NEPAViT`.

        Raises:
            ConfigError: For masks that hide different numbers of patches.
        """
        if mask is None:
            return super().forward(x)
        counts = mask.sum(dim=1).unique().tolist()
        if len(counts) > 1:
            raise ConfigError(f'masks hide {counts[0]} patches of one image and {counts[-1]} of another', 'train_pipeline',
                              'use BEiTMaskGenerator, which hides num_masking_patches in each')
        return self.encode(x, (~mask).nonzero()[:, 1].unflatten(0, (len(x), -1)))
