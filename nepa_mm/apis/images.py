"""Images for inference, read and prepared as in the test of the model."""
from pathlib import Path

import numpy as np
from mmcv.transforms import BaseTransform
from mmengine.dataset import Compose
from mmengine.model import BaseModel
from mmengine.registry import DefaultScope

from nepa_mm.checkpoints.preprocessing import pipeline_of_one_view
from nepa_mm.datasets.transforms.load_image import LoadImage, with_own_loader
from nepa_mm.errors import CheckpointError, DataError
from nepa_mm.registry import TRANSFORMS

from .untrusted_config import LABELS

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


def picture_at(path: str | Path, load: BaseTransform) -> np.ndarray:
    """What a person sees of the image in a file that a model's loader reads, as :func:`picture_of`."""
    return picture_of(load_image(path, load), getattr(load, 'channels', None) is not None)


def picture_of(image: np.ndarray, are_bands: bool = False) -> np.ndarray:
    """What a person sees of an image that was loaded, [H, W] or [H, W, C] in mm's BGR: uint8 RGB [H, W, 3].

    Of more channels than three it is the first three, of one or two the first; values beyond 8 bits are stretched from black to
    white.

    Args:
        are_bands: Of an image that is not RGB, in the order of its file. Of its values beyond 8 bits, a hundredth at either
            end is black or white, so that single ones leave light for the others.
    """
    image = np.atleast_3d(image)
    image = image[..., :1].repeat(3, axis=2) if image.shape[2] < 3 else image[..., :3] if are_bands else image[..., 2::-1]
    if image.dtype == np.uint8:
        return image
    low, high = np.percentile(image, (1, 99)) if are_bands else (image.min(), image.max())
    return ((image.clip(low, high) - low) * (255 / max(high - low, 1e-9))).astype(np.uint8)


def loader_of(model: BaseModel) -> BaseTransform:
    """What reads the images of a model, whole and as its training did: the first step of its test pipeline, of any channels.

    One that cannot be read is an error here, also where a training leaves such out (``ignore_empty``).
    """
    load = with_own_loader(steps_of(model)[0])
    return TRANSFORMS.build({key: value for key, value in load.items() if key not in ('whole', 'ignore_empty')})


def preparation_of(model: BaseModel) -> Compose:
    """What follows in the test pipeline, from ``img`` to ``inputs``, but for labels, which images to be predicted have not."""
    with DefaultScope.overwrite_default_scope(model._config.get('default_scope') or 'mmpretrain'):
        return Compose([step for step in steps_of(model)[1:] if step['type'] not in LABELS])


def steps_of(model: BaseModel) -> list[dict]:
    """The test pipeline of a model."""
    pipeline = pipeline_of_one_view(model._config)
    if not pipeline:
        raise CheckpointError('no test_dataloader.dataset.pipeline, which says how images are prepared',
                              'the config of the model', 'give the checkpoint alone, or a config that has one')
    return pipeline
