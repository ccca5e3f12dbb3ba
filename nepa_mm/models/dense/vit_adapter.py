"""ViT-Adapter: a pyramid from a plain ViT and convolutions that exchange features between its blocks (arXiv 2205.08534).

Shapes: B batch, C channels of the images, N cells of all levels or patches, D width of the backbone, h x w grid of a level.
"""
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from mmcv.cnn import ConvModule, build_norm_layer
from mmengine.model import BaseModule
from timm.layers import trunc_normal_
from torch import Tensor, nn

from nepa_mm.errors import ConfigError
from nepa_mm.models.nepa_vit import NEPAViT
from nepa_mm.registry import MODELS

from .segmentors import PaddedEncoderDecoder

INTERACTIONS = 4  # groups of blocks, one for each map
Grid = tuple[int, int]  # rows and columns of a level


@MODELS.register_module()
class ViTAdapter(BaseModule):
    """Feature maps at about 1/4, 1/8, 1/16 and 1/32 of the image, for heads such as UPerNet's.

    A neck of :class:`AdaptedEncoderDecoder`, since it takes the image and the backbone.

    Convolutions make four maps of the image, the spatial prior. The backbone's blocks are divided into four groups. Before each
    its patches take up something of the last three maps (injector), by a factor that is 0 at the start; after it these take up
    something of the patches (extractor), both by deformable attention at half the width, to four points of a level. Each of the
    four maps is given the patches after a group.

    Args:
        embed_dims: Width D of the backbone.
        num_heads: Of the deformable attention.
        prior_channels: Of the first convolutions; 64 in the paper.
        in_channels: Of the images.
        norm_cfg: Normalisation of the convolutions and of the maps.

    Raises:
        ConfigError: Where mmcv's deformable attention cannot be had.
    """

    def __init__(self, embed_dims: int, num_heads: int, prior_channels: int = 64, in_channels: int = 3,
                 norm_cfg: dict = dict(type='SyncBN'), init_cfg: dict | None = None) -> None:
        super().__init__(init_cfg)
        if MODELS.get('MultiScaleDeformableAttention') is None:
            raise ConfigError('ViTAdapter needs the deformable attention of mmcv.ops, which is not there', 'neck.type',
                              "set custom_imports=dict(imports=['nepa_mm.ops'])")
        attention = dict(
            type='MultiScaleDeformableAttention', embed_dims=embed_dims, num_heads=num_heads, num_points=4, dropout=0.,
            batch_first=True, value_proj_ratio=0.5)
        self.embed_dims, self.in_channels = embed_dims, in_channels
        self.prior = SpatialPrior(in_channels, embed_dims, prior_channels, norm_cfg)
        self.level_embed = nn.Parameter(trunc_normal_(torch.empty(3, embed_dims), std=0.02))
        self.injectors = nn.ModuleList(Injector(embed_dims, attention) for _ in range(INTERACTIONS))
        # The paper's last interaction has two extractors more
        self.extractors = nn.ModuleList(Extractor(embed_dims, attention) for _ in range(INTERACTIONS + 2))
        self.enlarge = nn.ConvTranspose2d(embed_dims, embed_dims, 2, stride=2)
        self.norms = nn.ModuleList(build_norm_layer(norm_cfg, embed_dims)[1] for _ in range(INTERACTIONS))

    def forward(self, inputs: Tensor, vit: NEPAViT) -> tuple[Tensor, ...]:
        """Images [B, C, H, W] and the backbone -> four maps [B, D, h, w] of the image, padded to whole patches."""
        image_size, extra = tuple(inputs.shape[-2:]), vit.num_extra_tokens
        grid = vit.grid(image_size)
        tables = vit.rope_tables(image_size, inputs.device)
        rope, frozen_rope = (None if table is None else vit.rotations(table) for table in tables)
        x = vit.add_position(vit.embed(inputs), grid)  # [B, L, D]
        finest, *levels = self.prior(vit.padded(inputs))
        grids = [tuple(level.shape[-2:]) for level in levels]
        c = torch.cat([tokens_of(level) + embed for level, embed in zip(levels, self.level_embed)], dim=1)  # [B, N, D]

        taps = []
        for n, blocks in enumerate(torch.arange(vit.num_layers).tensor_split(INTERACTIONS)):
            tokens, patches = x.tensor_split([extra], dim=1)  # [CLS] takes up nothing
            x = torch.cat([tokens, self.injectors[n](patches, grid, c, grids)], dim=1)
            for i in blocks.tolist():
                x = vit.run_block(i, x, frozen_rope if i < vit.frozen_stages else rope, vit.causal)
            is_last = n + 1 == INTERACTIONS
            x = vit.norm(x) if is_last else x
            for extractor in self.extractors[n:None if is_last else n + 1]:
                c = extractor(c, grids, x[:, extra:], grid)
            taps.append(map_of(x[:, extra:], grid))

        levels = [map_of(level, size) for level, size in zip(c.split([h * w for h, w in grids], dim=1), grids)]
        height, width = finest.shape[-2:]  # an odd one is one less than twice the next
        maps = [finest + self.enlarge(levels[0])[..., :height, :width], *levels]
        return tuple(norm(m + F.interpolate(tap, m.shape[-2:], mode='bilinear', align_corners=False))
                     for norm, m, tap in zip(self.norms, maps, taps))


class SpatialPrior(nn.Module):
    """Convolutions ``[B, C, H, W] -> four of [B, D, h, w]``, at 1/4, 1/8, 1/16 and 1/32 of the size, rounded up."""

    def __init__(self, in_channels: int, dims: int, channels: int, norm_cfg: dict) -> None:
        super().__init__()

        def conv(inputs: int, outputs: int, stride: int) -> ConvModule:
            return ConvModule(inputs, outputs, 3, stride=stride, padding=1, norm_cfg=norm_cfg)

        widths = [channels, 2 * channels, 4 * channels, 4 * channels]
        self.stem = nn.Sequential(
            conv(in_channels, channels, 2), conv(channels, channels, 1), conv(channels, channels, 1),
            nn.MaxPool2d(3, 2, padding=1))
        self.halves = nn.ModuleList(conv(inputs, outputs, 2) for inputs, outputs in zip(widths, widths[1:]))
        self.projections = nn.ModuleList(nn.Conv2d(width, dims, 1) for width in widths)

    def forward(self, images: Tensor) -> list[Tensor]:
        maps = [self.stem(images)]
        for half in self.halves:
            maps.append(half(maps[-1]))
        return [projection(m) for projection, m in zip(self.projections, maps)]


class DeformableAttention(nn.Module):
    """What cells of some levels take of the cells of others, by mmcv's multi-scale deformable attention, both normalised."""

    def __init__(self, dims: int, attention: dict, num_levels: int) -> None:
        super().__init__()
        self.query_norm, self.value_norm = nn.LayerNorm(dims, eps=1e-6), nn.LayerNorm(dims, eps=1e-6)
        self.attention = MODELS.build(dict(attention, num_levels=num_levels))

    def forward(self, queries: Tensor, query_grids: Sequence[Grid], values: Tensor, value_grids: Sequence[Grid]) -> Tensor:
        """Cells [B, N, D] and [B, M, D] of levels on the same image -> [B, N, D]."""
        shapes = torch.tensor(value_grids, device=values.device)
        sizes = shapes.prod(1)
        points = cell_centres(query_grids, queries.device)[None, :, None].expand(queries.shape[0], -1, len(value_grids), -1)
        return self.attention(
            self.query_norm(queries), value=self.value_norm(values), identity=queries.new_zeros(()), reference_points=points,
            spatial_shapes=shapes, level_start_index=sizes.cumsum(0) - sizes)


class Injector(nn.Module):
    """The backbone's patches take up features of three levels, by a factor of each channel that is 0 at the start."""

    def __init__(self, dims: int, attention: dict) -> None:
        super().__init__()
        self.attend = DeformableAttention(dims, attention, num_levels=3)
        self.gamma = nn.Parameter(torch.zeros(dims))

    def forward(self, patches: Tensor, grid: Grid, c: Tensor, grids: Sequence[Grid]) -> Tensor:
        return patches + self.gamma * self.attend(patches, [grid], c, grids)


class Extractor(nn.Module):
    """Three levels take up features of the backbone's patches, then pass a feed-forward network with a convolution in it."""

    def __init__(self, dims: int, attention: dict) -> None:
        super().__init__()
        hidden = dims // 4
        self.attend = DeformableAttention(dims, attention, num_levels=1)
        self.norm = nn.LayerNorm(dims, eps=1e-6)
        self.widen, self.narrow = nn.Linear(dims, hidden), nn.Linear(hidden, dims)
        self.conv = nn.Conv2d(hidden, hidden, 3, padding=1, groups=hidden)

    def forward(self, c: Tensor, grids: Sequence[Grid], patches: Tensor, grid: Grid) -> Tensor:
        c = c + self.attend(c, grids, patches, [grid])
        levels = self.widen(self.norm(c)).split([h * w for h, w in grids], dim=1)
        mixed = torch.cat([tokens_of(self.conv(map_of(level, size))) for level, size in zip(levels, grids)], dim=1)
        return c + self.narrow(F.gelu(mixed))


def cell_centres(grids: Sequence[Grid], device: torch.device) -> Tensor:
    """Centres (x, y) [N, 2] of the cells of all levels, row by row, in shares of the image."""
    return torch.cat([torch.stack(torch.meshgrid(
        *((torch.arange(side, device=device) + 0.5) / side for side in (columns, rows)), indexing='xy'), dim=-1).flatten(0, 1)
        for rows, columns in grids])


def tokens_of(featmap: Tensor) -> Tensor:
    """[B, D, h, w] -> [B, h * w, D]."""
    return featmap.flatten(2).transpose(1, 2)


def map_of(tokens: Tensor, grid: Grid) -> Tensor:
    """[B, h * w, D] -> [B, D, h, w]."""
    return tokens.transpose(1, 2).unflatten(2, grid)


@MODELS.register_module()
class AdaptedEncoderDecoder(PaddedEncoderDecoder):
    """:class:`PaddedEncoderDecoder` whose neck, a :class:`ViTAdapter`, exchanges features with the backbone's blocks.

    The backbone may be frozen: gradients pass through its blocks to the adapter.

    Raises:
        ConfigError: For another neck, one of another width or other channels, a backbone of fewer than four blocks.
    """

    def __init__(self, backbone: dict, neck: dict | None = None, **kwargs) -> None:
        super().__init__(backbone, neck=neck, **kwargs)
        if not self.with_neck or not isinstance(self.neck, ViTAdapter):
            raise ConfigError(f'{(neck or {}).get("type")!r} is no adapter', 'neck.type', "set 'nepa_mm.ViTAdapter'")
        if self.neck.embed_dims != self.backbone.embed_dims:
            raise ConfigError(f'{self.neck.embed_dims} differs from the width of the backbone, {self.backbone.embed_dims}',
                              'neck.embed_dims', f'set it to {self.backbone.embed_dims}')
        if self.neck.in_channels != self.backbone.patch_embed.in_channels:
            raise ConfigError(f'{self.neck.in_channels} differs from the channels of the backbone, '
                              f'{self.backbone.patch_embed.in_channels}', 'neck.in_channels', 'set it to these')
        if self.backbone.num_layers < INTERACTIONS:
            raise ConfigError(f'{self.backbone.num_layers} blocks are fewer than the {INTERACTIONS} groups of ViTAdapter',
                              'backbone.arch', 'take a deeper one')

    def extract_feat(self, inputs: Tensor) -> tuple[Tensor, ...]:
        """Images [B, 3, H, W] -> the adapter's maps."""
        return self.neck(inputs, self.backbone)
