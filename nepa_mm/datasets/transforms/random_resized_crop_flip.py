"""torchvision's random crop and flip, to Pillow's pixels."""
import math
import threading

import numpy as np
import torch
from mmcv.transforms import BaseTransform
from PIL import Image
from torch.nn.functional import interpolate

from nepa_mm.errors import ConfigError, DataError
from nepa_mm.registry import TRANSFORMS

from .encoded_jpeg import EncodedJpeg
from .pillow_kernels import BILINEAR, library, planes


class Numbers(threading.local):
    """Tensors of this thread that random numbers are drawn into: to make one takes longer than to draw."""

    def __init__(self) -> None:
        self.real, self.whole = torch.empty(1), torch.empty(1, dtype=torch.int64)


NUMBERS = Numbers()


@TRANSFORMS.register_module()
class RandomResizedCropFlip(BaseTransform):
    """torchvision's ``RandomResizedCrop``, bilinear and antialiased, then its ``RandomHorizontalFlip``, in less time.

    Random numbers, crops and flips are torchvision's under one seed of torch. Images may have any number of channels.

    Args:
        size: Side of the result in pixels, or its height and width.
        scale: Least and greatest share of the image's area that a crop covers.
        ratio: Least and greatest width / height of a crop.
        prob: Probability of a flip.
        backend: 'pillow' gives the release's pixels to the bit: of three channels in uint8 by C that is compiled at first use,
            once for a machine. Without a C compiler a line says so, and Pillow does it. 'torchvision' resizes by torch: 3 % of
            the values differ by 1 of 255, and one in ten million by 2, as both round after each axis.

    Raises:
        ConfigError: For another backend, or a size that is none.
        DataError: For an image that is neither of uint8 nor of float32.
    """

    def __init__(self, size: int | tuple[int, int], scale: tuple = (0.08, 1.), ratio: tuple = (3 / 4, 4 / 3), prob: float = 0.5,
                 backend: str = 'pillow') -> None:
        if backend not in ('pillow', 'torchvision'):
            raise ConfigError(f'{backend!r} is unknown', 'RandomResizedCropFlip.backend', "choose 'pillow' or 'torchvision'")
        if backend == 'pillow':
            library()  # compiled here, before there are workers
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
        flip = NUMBERS.real.uniform_().item() < self.prob
        results['img'], results['img_shape'] = self.resized(crop, flip), self.size
        return results

    def resized(self, crop: np.ndarray, flip: bool) -> np.ndarray:
        """A crop in RGB, [H, W, C], resized, and mirrored with ``flip``, to BGR [h, w, C], whose channels lie apart."""
        kernels = library() if self.backend == 'pillow' and crop.dtype == np.uint8 and crop.shape[2] == 3 else None
        if kernels is not None:
            return planes(kernels, crop, self.size[::-1], flip).transpose(1, 2, 0)
        if self.backend == 'pillow':
            bands = [Image.fromarray(band).resize(self.size[::-1], BILINEAR) for band in crop.transpose(2, 0, 1)]
            pixels = torch.from_numpy(np.stack(bands))
        else:
            pixels = interpolate(torch.from_numpy(crop).permute(2, 0, 1)[None], self.size, mode='bilinear', antialias=True)[0]
        return pixels.flip((0, -1) if flip else 0).permute(1, 2, 0).numpy()

    def crop(self, results: dict) -> np.ndarray | None:
        """A crop in RGB, as it was decoded; of what is encoded or in its file, nothing else is."""
        img = results['img']
        if isinstance(img, EncodedJpeg):
            top, left, height, width = self.draw(*img.shape[:2])
            return img.region(left, top, width, height)
        if img.dtype not in (np.uint8, np.float32):
            raise DataError(f'RandomResizedCropFlip takes images of uint8 or float32, not {img.dtype}',
                            f'img_path={results.get("img_path")!r}', 'load it with to_float32=True')
        top, left, height, width = self.draw(*img.shape[:2])
        return np.ascontiguousarray(np.atleast_3d(img[top:top + height, left:left + width])[..., ::-1])

    def draw(self, height: int, width: int) -> tuple[int, int, int, int]:
        """Top, left, height and width of a crop. torchvision's takes more time than the resizing of a small one."""
        number, place = NUMBERS.real, NUMBERS.whole
        for _ in range(10):
            area = height * width * number.uniform_(*self.scale).item()
            ratio = number.uniform_(*self.log_ratio).exp_().item()
            w, h = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
            if 0 < w <= width and 0 < h <= height:
                return place.random_(0, height - h + 1).item(), place.random_(0, width - w + 1).item(), h, w
        h, w = height, width  # nothing fitted: the largest crop in the middle
        if width / height < self.ratio[0]:
            h = round(width / self.ratio[0])
        elif width / height > self.ratio[1]:
            w = round(height * self.ratio[1])
        return (height - h) // 2, (width - w) // 2, h, w

    def __repr__(self) -> str:
        return (f'{type(self).__name__}(size={self.size}, scale={self.scale}, ratio={self.ratio}, prob={self.prob}, '
                f'backend={self.backend!r})')
