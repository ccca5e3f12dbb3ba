"""Images of any kind as what a model takes and a picture shows."""
import io
import logging
import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from mmengine.logging import print_log
from mmengine.model import BaseModel
from PIL import Image, ImageOps
from torch import Tensor

from nepa_mm.apis.images import picture_of
from nepa_mm.checkpoints.preprocessing import input_size
from nepa_mm.datasets import LoadImage
from nepa_mm.errors import ConfigError, DataError, first_line
from nepa_mm.models.causal_backbone import check_protocol


def read_image(path: str | Path, content: bytes | None = None, bands: int | None = None) -> Image.Image | np.ndarray:
    """Any image that Pillow reads, in RGB: upright, its first frame, 16 bits scaled to 8, what is transparent on white.

    Args:
        path: Of the file.
        content: What is in it, where a dataset holds it; ``path`` then only names it.
        bands: Channels of an image that is not RGB, for a model of such. It is [H, W, bands], as :class:`LoadImage` reads it.

    Raises:
        DataError: If it cannot be read, in one line that names it.
    """
    if bands is not None:
        return LoadImage(channels=bands)(dict(img_path=str(path)) | ({} if content is None else dict(img_bytes=content)))['img']
    try:
        with warnings.catch_warnings():
            warnings.simplefilter('ignore')  # of large images, and of metadata
            image = Image.open(path if content is None else io.BytesIO(content))
            frames = getattr(image, 'n_frames', 1)
            image = ImageOps.exif_transpose(image)
            image.load()
    except Exception as error:  # decoders raise nearly everything on broken files
        raise DataError(f'it cannot be read as an image ({type(error).__name__}: {first_line(error)})', str(path),
                        'mend it, scale it down or take another') from error
    if frames > 1:
        print_log(f'{path}: the first of {frames} frames', 'current', logging.INFO)
    return in_rgb(image, path)


def in_rgb(image: Image.Image, path: str | Path) -> Image.Image:
    """An image of any mode in RGB, where Pillow's own conversion would clip 16 bits and show hidden colours."""
    if image.mode.startswith(('I', 'F')):
        values = np.asarray(image).astype(np.float64)
        if image.mode == 'F' or values.min() < 0 or values.max() > 65535:
            raise DataError(f'values from {values.min():g} to {values.max():g} (mode {image.mode}), of which black and white are '
                            'not known', str(path), 'save it with 8 or 16 bits')
        return Image.fromarray((values / 257).round().astype(np.uint8)).convert('RGB')
    if image.mode in ('RGBA', 'LA', 'La', 'RGBa', 'PA') or 'transparency' in image.info:
        image = image.convert('RGBA')
        return Image.alpha_composite(Image.new('RGBA', image.size, 'white'), image).convert('RGB')
    return image.convert('RGB')


def cropped(image: Image.Image, size: tuple[int, int]) -> Image.Image:
    """The largest middle part that has the shape of H x W pixels, scaled to them."""
    return ImageOps.fit(image, size[::-1], Image.Resampling.BICUBIC)


def cropped_array(image: Image.Image | np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Likewise of an image that :func:`read_image` gave, [h, w, C]; bands of bytes in int16, since bytes stand for RGB."""
    if isinstance(image, Image.Image):
        return np.asarray(cropped(image, size))
    bands = np.stack([np.asarray(cropped(Image.fromarray(band), size)) for band in image.transpose(2, 0, 1)], axis=-1)
    return bands.astype(np.int16) if bands.dtype == np.uint8 else bands


def pixels_of(images: Sequence[Image.Image | np.ndarray], size: tuple[int, int]) -> Tensor:
    """Images cropped and scaled to one size: [B, 3, H, W], uint8, RGB; or [B, C, H, W], int16 or float32, of such as are not."""
    return torch.from_numpy(np.stack([cropped_array(image, size) for image in images])).permute(0, 3, 1, 2)


def are_rgb(pixels: Tensor) -> bool:
    """Whether images [B, C, H, W] are RGB; all but bytes of three channels are bands."""
    return pixels.dtype == torch.uint8 and pixels.shape[1] == 3


def picture(image: Image.Image | np.ndarray, size: tuple[int, int]) -> Image.Image:
    """What a person sees of an image, cropped and scaled."""
    return cropped(image if isinstance(image, Image.Image) else Image.fromarray(picture_of(image, are_bands=True)), size)


def pictures(pixels: Tensor) -> np.ndarray:
    """What a person sees of images [B, C, H, W] that :func:`pixels_of` gave: [B, H, W, 3], uint8, RGB."""
    arrays = pixels.permute(0, 2, 3, 1).cpu().numpy()
    if are_rgb(pixels):
        return arrays
    arrays = arrays.astype(np.uint8) if arrays.dtype == np.int16 else arrays
    return np.stack([picture_of(array, are_bands=True) for array in arrays])


def image_size(model: BaseModel, size: Sequence[int] | None = None, config: dict | None = None) -> tuple[int, int]:
    """Height and width in pixels: those given, one for a square, or those that the model was trained for.

    Args:
        config: Of the training; default: the one that a loaded model carries.

    Raises:
        ConfigError: For a backbone that NEPA cannot train, what is no size, or a size that the backbone does not take.
    """
    backbone = model.backbone
    check_protocol(backbone)
    if hasattr(backbone, 'stored_grid'):  # NEPAViT
        own = tuple(cells * backbone.patch_size for cells in backbone.stored_grid)
    else:
        own = backbone.default_size() if hasattr(backbone, 'timm_model') else tuple(backbone.img_size)
    if size is None:
        size = input_size(config or getattr(model, '_config', {})) or own
    height, width = size * 2 if len(size) == 1 else size if len(size) == 2 else (0, 0)
    if min(height, width) < 1:
        raise ConfigError(f'{" ".join(map(str, size))} is no size', 'size',
                          'give a height and a width in pixels, or one of them for a square')
    is_fixed = not getattr(getattr(backbone, 'timm_model', None), 'dynamic_img_size', True)
    if is_fixed and (height, width) != own:
        raise ConfigError(f'{height} {width}: this backbone takes one size alone (dynamic_img_size=False)', 'size',
                          f'give {own[0]} {own[1]}')
    return height, width
