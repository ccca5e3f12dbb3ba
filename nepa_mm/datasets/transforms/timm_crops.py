"""What timm's pipelines begin with, a random crop or the centre of what was resized, on the part of an image that it needs."""
import random
from collections.abc import Callable, Sequence

import numpy as np
import torch
from PIL import Image
from timm.data.transforms import RandomResizedCropAndInterpolation
from torchvision.transforms import CenterCrop, InterpolationMode, Resize
from torchvision.transforms.functional import center_crop, resize

from .encoded_jpeg import EncodedJpeg
from .pillow_kernels import library, needed, resized


class RandomCrop:
    """timm's random crop, resized; its random numbers are drawn before any pixel is there."""
    steps = 1

    def __init__(self, crop: RandomResizedCropAndInterpolation, compile: bool) -> None:
        self.crop, self.compile = crop, compile

    def __call__(self, img: np.ndarray | EncodedJpeg) -> np.ndarray | Image.Image | None:
        """From an image in BGR [H, W, 3] to [h, w, 3] in RGB, or Pillow's image of it; None as :func:`part_of`."""
        crop = self.crop
        top, left, height, width = crop.get_params(torch.empty(img.shape[:2], device='meta'), crop.scale, crop.ratio)
        modes = crop.interpolation
        mode = random.choice(modes) if isinstance(modes, (tuple, list)) else modes
        pixels = part_of(img, left, top, width, height)
        if pixels is None:
            return None
        kernels = library() if self.compile and mode == InterpolationMode.BICUBIC else None
        if kernels is not None and pixels.size:  # of one pixel a crop may be nothing, which Pillow makes black
            return resized(kernels, pixels, crop.size[::-1])
        return resize(Image.fromarray(np.ascontiguousarray(pixels)), list(crop.size), mode)


class CentreCrop:
    """torchvision's ``Resize`` and ``CenterCrop``, of what is in the centre alone."""
    steps = 2

    def __init__(self, scale: Resize, crop: CenterCrop, compile: bool) -> None:
        self.scale, self.crop, self.compile = scale, crop, compile

    def __call__(self, img: np.ndarray | EncodedJpeg) -> np.ndarray | Image.Image | None:
        """As that of :class:`RandomCrop`."""
        (in_height, in_width), mode = img.shape[:2], self.scale.interpolation
        height, width = size = self.resized_size(in_height, in_width)
        rows, columns = self.crop.size
        y, x = round((height - rows) / 2), round((width - columns) / 2)
        y, x, rows, columns = (y, x, rows, columns) if min(x, y) >= 0 else (0, 0, height, width)  # else it pads
        (top, there), (left, across) = needed(in_height, height, y, rows), needed(in_width, width, x, columns)
        pixels = part_of(img, left, top, across, there)
        if pixels is None:
            return None
        kernels = library() if self.compile and mode == InterpolationMode.BICUBIC else None
        if kernels is not None:
            image = resized(kernels, pixels, size[::-1], (x, y, columns, rows), (left, top, in_width, in_height))
            return image if image.shape[:2] == tuple(self.crop.size) else center_crop(Image.fromarray(image), self.crop.size)
        image = Image.new('RGB', (in_width, in_height))  # black where nothing is needed
        image.paste(Image.fromarray(np.ascontiguousarray(pixels)), (left, top))
        return center_crop(resize(image, list(size), mode), self.crop.size)

    def resized_size(self, height: int, width: int) -> tuple[int, int]:
        """Height and width, as torchvision's ``Resize`` works them out."""
        size = self.scale.size
        if not isinstance(size, int):
            return tuple(size)
        return (size, int(size * width / height)) if height <= width else (int(size * height / width), size)


def crop_of(steps: Sequence[Callable], compile: bool) -> RandomCrop | CentreCrop | None:
    """What stands for the first of timm's steps; None where they begin with something else."""
    kinds = [type(step) for step in steps[:2]]
    if kinds[:1] == [RandomResizedCropAndInterpolation]:
        return RandomCrop(steps[0], compile)
    if kinds == [Resize, CenterCrop] and steps[0].interpolation in (InterpolationMode.BICUBIC, InterpolationMode.BILINEAR):
        return CentreCrop(*steps[:2], compile)
    return None


def part_of(img: np.ndarray | EncodedJpeg, left: int, top: int, width: int, height: int) -> np.ndarray | None:
    """A part of an image of mm, BGR [H, W, 3] or not decoded yet, in RGB; None if it cannot be decoded and may be left out."""
    if isinstance(img, EncodedJpeg):
        return img.region(left, top, width, height) if width and height else np.empty((height, width, 3), np.uint8)
    return img[top:top + height, left:left + width, ::-1]
