"""Images of different sizes and shapes in one batch, their tokens packed one behind the other (as in NaViT, arXiv 2307.06304).

Shapes: B images, L_i tokens of image i ([CLS], if any, then the patches in raster order), N tokens of all, D width.
"""
from collections.abc import Callable, Iterator, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nepa_mm.errors import ConfigError
from nepa_mm.models.fused_preprocessor import FusedSelfSupDataPreprocessor
from nepa_mm.models.nepa import NEPA
from nepa_mm.models.nepa_vit import NEPAViT
from nepa_mm.registry import MODELS

VECTORS = ('cls_token', 'last_token', 'avg_featmap')
Sizes = Sequence[tuple[int, int]]


def within_each(lengths: Sequence[int], causal: bool) -> Callable[[Tensor, Tensor, Tensor], Tensor]:
    """Attention of packed queries, keys and values [1, H, N, d] -> [1, H, N, d], whose tokens see their own sequence alone.

    A call for each: there is no mask, no padding, and a kernel for causal attention stays one.
    """

    def attend(*packed: Tensor) -> Tensor:
        sequences = zip(*(tokens.split(lengths, dim=2) for tokens in packed))
        return torch.cat([F.scaled_dot_product_attention(*each, is_causal=causal) for each in sequences], dim=2)

    return attend


@MODELS.register_module()
class PackedNEPAViT(NEPAViT):
    """:class:`NEPAViT` that takes a list of images [C, H, W], too: each gets what it would get alone.

    Weights are those of :class:`NEPAViT`, both ways, and so is what it makes of a batch [B, C, H, W]. While training, RoPE draws
    its factors for each image, as it would alone.

    Raises:
        ConfigError: For ``compile``, as each batch has other lengths, and for ``drop_path_rate``, which would drop a block for
            all images together.
    """

    def __init__(self, **kwargs) -> None:
        for name in ('compile', 'drop_path_rate'):
            if kwargs.get(name):
                raise ConfigError(f'{kwargs[name]} does not go with packed images', f'model.backbone.{name}', 'leave it out')
        super().__init__(**kwargs)

    def predict(self, z: Tensor | Sequence[Tensor], image_size: tuple[int, int] | Sizes) -> Tensor | Sequence[Tensor]:
        """As of :class:`NEPAViT`; of a list of [1, L_i, D] and the height and width of each image, a list."""
        if isinstance(z, Tensor):
            return super().predict(z, image_size)
        for states in self.packed_states(z, image_size):
            pass
        return states

    def packed_states(self, z: Sequence[Tensor], image_sizes: Sizes) -> Iterator[Sequence[Tensor]]:
        """Yield the output of each block in turn as :meth:`hidden_states` does, [1, L_i, D] of each image."""
        lengths, device = [tokens.shape[1] for tokens in z], z[0].device
        x = torch.cat([self.add_position(tokens, self.grid(size)) for tokens, size in zip(z, image_sizes)], dim=1)  # [1, N, D]
        tables = zip(*(self.rope_tables(size, device) for size in image_sizes))  # of blocks that train, and of frozen ones
        rotations = (None if of_all[0] is None else
                     torch.cat([self.rotations(table) for table in of_all])  # [N, 1, 2 * head_dim]
                     for of_all in tables)
        for state in self.run_rotated(x, *rotations, within_each(lengths, self.causal)):
            yield state.split(lengths, dim=1)

    def forward(self, x: Tensor | Sequence[Tensor]) -> tuple[Tensor | Sequence[Tensor], ...]:
        """As of :class:`NEPAViT`; of a list of images, each output is [B, D], or a list of [1, ...] for those with places."""
        if isinstance(x, Tensor):
            return super().forward(x)
        sizes = [tuple(image.shape[-2:]) for image in x]
        outputs = []
        for i, states in enumerate(self.packed_states([self.embed(image[None]) for image in x], sizes)):
            if i in self.out_indices:
                output = [self.output(state, size) for state, size in zip(states, sizes)]
                outputs.append(torch.cat(output) if self.out_type in VECTORS else output)
        return tuple(outputs)


@MODELS.register_module()
class PackedNEPA(NEPA):
    """:class:`NEPA` over a :class:`PackedNEPAViT`; its loss is the mean over images of the loss of each.

    A large image so weighs as much as a small one. Of images of one size this is :class:`NEPA`'s loss. ``collapse``, which
    compares images at the same place, is not reported, and a loss over several images, as :class:`SIGReg`, sees those of one.

    Args:
        backbone: Config or module of a :class:`PackedNEPAViT`.
        **kwargs: Of :class:`NEPA`; ``data_preprocessor`` is a :class:`PackedDataPreprocessor` if not told otherwise.

    Raises:
        ConfigError: For another backbone.
    """

    def __init__(self, backbone: dict | nn.Module, **kwargs) -> None:
        if not isinstance(kwargs.get('data_preprocessor'), nn.Module):
            kwargs['data_preprocessor'] = {'type': 'nepa_mm.PackedDataPreprocessor', **(kwargs.get('data_preprocessor') or {})}
        super().__init__(backbone, **kwargs)
        if not isinstance(self.backbone, PackedNEPAViT):
            raise ConfigError(f'{type(self.backbone).__name__} takes no images of different sizes', 'model.backbone.type',
                              'set nepa_mm.PackedNEPAViT')

    def loss(self, inputs: Tensor | Sequence[Tensor], data_samples: list | None = None) -> dict[str, Tensor]:
        """Mean of what :meth:`NEPA.loss` gives of each normalised image [C, H, W]; of a batch [B, C, H, W] that itself."""
        if isinstance(inputs, Tensor):
            return super().loss(inputs, data_samples)
        images = [image[None] for image in inputs]
        z = [self.backbone.embed(image) for image in images]  # [1, L_i, D]
        z_hat = self.backbone.predict([self.mask(tokens) for tokens in z], [tuple(image.shape[-2:]) for image in images])
        found = [self.head(prediction, self.targets(*each)) for prediction, *each in zip(z_hat, images, z)]
        return {name: torch.stack([losses[name] for losses in found]).mean() for name in found[0]}


@MODELS.register_module()
class PackedDataPreprocessor(FusedSelfSupDataPreprocessor):
    """:class:`FusedSelfSupDataPreprocessor` that keeps a list of images [C, H, W] one, as ``pseudo_collate`` makes it."""

    def forward(self, data: dict, training: bool = False) -> dict:
        """Normalise each of the images; a batch [B, C, H, W] goes the parent's way."""
        if isinstance(data['inputs'], Tensor):
            return super().forward(data, training)
        images = [super(PackedDataPreprocessor, self).forward(dict(inputs=image[None]), training)['inputs'][0]
                  for image in data['inputs']]
        return dict(inputs=images, data_samples=self.cast_data(data.get('data_samples')))
