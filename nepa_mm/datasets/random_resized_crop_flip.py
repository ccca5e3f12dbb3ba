"""torchvision's random crop and flip, resized in uint8."""
import math

import numpy as np
import torch
from mmcv.transforms import BaseTransform
from PIL import Image
from torch.nn.functional import interpolate

from ..errors import ConfigError
from ..registry import TRANSFORMS


@TRANSFORMS.register_module()
class RandomResizedCropFlip(BaseTransform):
    """torchvision's ``RandomResizedCrop``, bilinear and antialiased, then its ``RandomHorizontalFlip``, in half the time.

    Random numbers, crops and flips are torchvision's under one seed of torch.

    Args:
        size: Height and width of the result.
        scale: Least and greatest share of the image's area that a crop covers.
        ratio: Least and greatest width / height of a crop.
        prob: Probability of a flip.
        backend: 'torchvision' resizes in uint8; 3 % of the values differ by 1 of 255 from Pillow's, and one in ten million by 2,
            as both round after each axis. 'pillow' takes longer and gives the release's pixels to the bit.

    Raises:
        ConfigError: For another backend.
    """

    def __init__(self, size: int, scale: tuple = (0.08, 1.), ratio: tuple = (3 / 4, 4 / 3), prob: float = 0.5,
                 backend: str = 'torchvision') -> None:
        if backend not in ('torchvision', 'pillow'):
            raise ConfigError(f'{backend!r} is unknown', 'RandomResizedCropFlip.backend', "choose 'torchvision' or 'pillow'")
        self.size, self.scale, self.ratio, self.prob, self.backend = size, tuple(scale), tuple(ratio), prob, backend
        self.log_ratio = torch.tensor(self.ratio).log().tolist()  # in float32, as torchvision's

    def transform(self, results: dict) -> dict:
        """Replace ``img``, uint8 BGR [H, W, 3], by one of ``size`` x ``size`` pixels, whose channels lie apart in memory."""
        img, size = results['img'], (self.size, self.size)
        top, left, height, width = self.draw(*img.shape[:2])
        crop = np.ascontiguousarray(img[top:top + height, left:left + width, ::-1])  # as it was decoded, and both want it
        if self.backend == 'pillow':
            crop = np.array(Image.fromarray(crop).resize(size, Image.Resampling.BILINEAR))
            pixels = torch.from_numpy(crop).permute(2, 0, 1).contiguous()
        else:
            pixels = interpolate(torch.from_numpy(crop).permute(2, 0, 1)[None], size, mode='bilinear', antialias=True)[0]
        if torch.rand(1).item() < self.prob:
            pixels = pixels.flip(-1)
        results['img'], results['img_shape'] = pixels.permute(1, 2, 0).numpy()[..., ::-1], size
        return results

    def draw(self, height: int, width: int) -> tuple[int, int, int, int]:
        """Top, left, height and width of a crop. torchvision's takes more time than the resizing of a small one."""
        number = torch.empty(1)
        for _ in range(10):
            area = height * width * number.uniform_(*self.scale).item()
            ratio = number.uniform_(*self.log_ratio).exp_().item()
            w, h = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
            if 0 < w <= width and 0 < h <= height:
                return torch.randint(0, height - h + 1, (1, )).item(), torch.randint(0, width - w + 1, (1, )).item(), h, w
        h, w = height, width  # nothing fitted: the largest crop in the middle
        if width / height < self.ratio[0]:
            h = round(width / self.ratio[0])
        elif width / height > self.ratio[1]:
            w = round(height * self.ratio[1])
        return (height - h) // 2, (width - w) // 2, h, w

    def __repr__(self) -> str:
        return (f'{type(self).__name__}(size={self.size}, scale={self.scale}, ratio={self.ratio}, prob={self.prob}, '
                f'backend={self.backend!r})')
