"""torchvision's random crop and flip, resized in uint8."""
import math

import numpy as np
import torch
from mmcv.transforms import BaseTransform
from PIL import Image
from torch.nn.functional import interpolate

from nepa_mm.errors import ConfigError, DataError
from nepa_mm.registry import TRANSFORMS

from .encoded_jpeg import EncodedJpeg


@TRANSFORMS.register_module()
class RandomResizedCropFlip(BaseTransform):
    """torchvision's ``RandomResizedCrop``, bilinear and antialiased, then its ``RandomHorizontalFlip``, in half the time.

    Random numbers, crops and flips are torchvision's under one seed of torch. Images may have any number of channels.

    Args:
        size: Side of the result in pixels, or its height and width.
        scale: Least and greatest share of the image's area that a crop covers.
        ratio: Least and greatest width / height of a crop.
        prob: Probability of a flip.
        backend: 'torchvision' resizes in uint8; 3 % of the values differ by 1 of 255 from Pillow's, and one in ten million by 2,
            as both round after each axis. 'pillow' takes longer and gives the release's pixels to the bit.

    Raises:
        ConfigError: For another backend, or a size that is none.
        DataError: For an image that is neither of uint8 nor of float32.
    """

    def __init__(self, size: int | tuple[int, int], scale: tuple = (0.08, 1.), ratio: tuple = (3 / 4, 4 / 3), prob: float = 0.5,
                 backend: str = 'torchvision') -> None:
        if backend not in ('torchvision', 'pillow'):
            raise ConfigError(f'{backend!r} is unknown', 'RandomResizedCropFlip.backend', "choose 'torchvision' or 'pillow'")
        self.size = tuple(size) if isinstance(size, (list, tuple)) else (size, size)
        if len(self.size) != 2 or not all(isinstance(side, int) and side > 0 for side in self.size):
            raise ConfigError(f'{size!r} is neither a side in pixels nor a height and a width', 'RandomResizedCropFlip.size',
                              'give one of the two')
        self.scale, self.ratio, self.prob, self.backend = tuple(scale), tuple(ratio), prob, backend
        self.log_ratio = torch.tensor(self.ratio).log().tolist()  # in float32, as torchvision's

    def transform(self, results: dict) -> dict | None:
        """Replace ``img``, BGR [H, W, C], grey [H, W] or encoded, by one of ``size`` [h, w, C], whose channels lie apart."""
        crop = self.crop(results)
        if crop is None:  # broken, and its loader takes that for nothing
            return None
        if self.backend == 'pillow':
            bands = [Image.fromarray(band).resize(self.size[::-1], Image.Resampling.BILINEAR) for band in crop.transpose(2, 0, 1)]
            pixels = torch.from_numpy(np.stack(bands))
        else:
            pixels = interpolate(torch.from_numpy(crop).permute(2, 0, 1)[None], self.size, mode='bilinear', antialias=True)[0]
        if torch.rand(1).item() < self.prob:
            pixels = pixels.flip(-1)
        results['img'], results['img_shape'] = pixels.permute(1, 2, 0).numpy()[..., ::-1], self.size
        return results

    def crop(self, results: dict) -> np.ndarray | None:
        """A crop in RGB, which both backends want, as it was decoded; of what is encoded, nothing else is."""
        img = results['img']
        if isinstance(img, EncodedJpeg):
            top, left, height, width = self.draw(*img.shape[:2])
            return img.region(left, top, width, height)
        img = np.atleast_3d(img)
        if img.dtype not in (np.uint8, np.float32):
            raise DataError(f'RandomResizedCropFlip takes images of uint8 or float32, not {img.dtype}',
                            f'img_path={results.get("img_path")!r}', 'load it with to_float32=True')
        top, left, height, width = self.draw(*img.shape[:2])
        return np.ascontiguousarray(img[top:top + height, left:left + width, ::-1])

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
