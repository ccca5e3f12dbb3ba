"""Images for inference, read as in training."""
from pathlib import Path

import numpy as np
from mmcv.transforms import BaseTransform

from nepa_mm.datasets.transforms.load_image import LoadImage
from nepa_mm.errors import DataError

LONGEST = 1000  # times as long as wide; pipelines enlarge the short side, and the long one with it


def load_image(path: str | Path, load: BaseTransform | None = None) -> np.ndarray:
    """Pixels of an image as the first step of a pipeline reads them; the hosts' inferencers take them.

    By default it is :class:`LoadImage`, uint8 BGR [H, W, 3]: a photograph is turned as its EXIF orientation says, of an animation
    the first picture counts, and CMYK, palettes and transparency become RGB as Pillow makes it.

    Raises:
        DataError: If it cannot be read, as of more than 8 bits; if it is a mere line.
    """
    image = (load or LoadImage())(dict(img_path=str(path)))['img']
    height, width = image.shape[:2]
    if max(width, height) > LONGEST * min(width, height):
        raise DataError(f'{width}x{height} pixels are a line rather than an image', str(path), 'cut it into pieces')
    return image


def picture_of(image: np.ndarray) -> np.ndarray:
    """What a person sees of an image that was loaded, [H, W] or [H, W, C] in mm's BGR: uint8 RGB [H, W, 3].

    Of more channels than three it is the first three, of one or two the first; values beyond 8 bits are stretched from black to
    white.
    """
    image = np.atleast_3d(image)
    image = image[..., 2::-1] if image.shape[2] > 2 else image[..., :1].repeat(3, axis=2)
    if image.dtype == np.uint8:
        return image
    low, high = image.min(), image.max()
    return ((image - low) * (255 / max(high - low, 1e-9))).astype(np.uint8)
