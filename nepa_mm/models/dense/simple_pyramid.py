"""ViTDet's pyramid: four scales from the last feature map of a plain backbone (arXiv 2203.16527, section 3).

mmseg's ``Feature2Pyramid`` makes each scale from the output of another block, and mmdet's necks expect a hierarchical backbone.

Shapes: B batch, D width of the backbone, C output channels, h x w grid of patches.
"""
from collections.abc import Sequence

from mmengine.model import BaseModule
from timm.layers import LayerNorm2d
from torch import Tensor, nn

from nepa_mm.errors import ConfigError
from nepa_mm.registry import MODELS


@MODELS.register_module()
class SimplePyramid(BaseModule):
    """Feature maps at 4, 2, 1 and 1/2 times the resolution of the backbone's, each from the same one.

    Transposed convolutions enlarge and max-pooling reduces it; a 1x1 and a 3x3 convolution, each with a LayerNorm over
    channels, follow at each scale.

    Args:
        embed_dims: Width D of the backbone.
        out_channels: Channels C of every scale.
        scales: Factors of the resolution: 4, 2, 1 or 0.5 each.
        num_outs: Number of maps; each beyond the scales has every second cell of the one before, for ViTDet's region proposals.

    Raises:
        ConfigError: For another factor, or fewer maps than scales.
    """

    def __init__(self, embed_dims: int, out_channels: int = 256, scales: Sequence[float] = (4, 2, 1, 0.5),
                 num_outs: int | None = None, init_cfg: dict | None = None) -> None:
        super().__init__(init_cfg)
        if not set(scales) <= {4, 2, 1, 0.5}:
            raise ConfigError(f'{scales!r} has one unknown to SimplePyramid', 'scales', 'choose from 4, 2, 1 and 0.5')
        self.num_outs = num_outs or len(scales)
        if self.num_outs < len(scales):
            raise ConfigError(f'{num_outs} maps of {len(scales)} scales', 'num_outs', 'give as many or more, or fewer scales')
        self.scales = nn.ModuleList(
            nn.Sequential(
                *resampling(scale, embed_dims),
                nn.Conv2d(embed_dims // int(max(scale, 1)), out_channels, 1, bias=False),
                LayerNorm2d(out_channels),
                nn.Conv2d(out_channels, out_channels, 3, padding=1, bias=False),
                LayerNorm2d(out_channels)) for scale in scales)

    def forward(self, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """The last of the backbone's outputs, [B, D, h, w] -> [B, C, scale * h, scale * w] for each scale, then the halves."""
        maps = [scale(inputs[-1]) for scale in self.scales]
        while len(maps) < self.num_outs:
            maps.append(maps[-1][..., ::2, ::2])
        return tuple(maps)


def resampling(scale: float, dims: int) -> list[nn.Module]:
    """Layers that change the resolution by a factor; each doubling halves the channels, as in ViTDet."""
    if scale == 4:
        return [nn.ConvTranspose2d(dims, dims // 2, 2, stride=2), LayerNorm2d(dims // 2), nn.GELU(),
                nn.ConvTranspose2d(dims // 2, dims // 4, 2, stride=2)]
    if scale == 2:
        return [nn.ConvTranspose2d(dims, dims // 2, 2, stride=2)]
    if scale == 1:
        return []
    return [nn.MaxPool2d(2)]
