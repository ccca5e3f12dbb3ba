"""Images for inference, read as in training."""
from pathlib import Path

import numpy as np
from PIL import Image

from ..datasets.load_image import LoadImage
from ..errors import DataError

LONGEST = 1000  # times as long as wide; pipelines enlarge the short side, and the long one with it


def load_image(path: str | Path) -> np.ndarray:
    """Pixels of an image, uint8 BGR [H, W, 3], as training reads them; the hosts' inferencers take them.

    So a photograph is turned as its EXIF orientation says, of an animation the first picture counts, and CMYK, palettes and
    transparency become RGB as Pillow makes it.

    Raises:
        DataError: If it cannot be read; if it has 16 or 32 bits, of which Pillow would make white; if it is a mere line.
    """
    try:
        with Image.open(path) as image:
            mode, (width, height) = image.mode, image.size
    except Exception:  # the loader says what is wrong
        mode, width, height = '', 1, 1
    if mode.startswith(('I', 'F')):
        raise DataError(f"more than 8 bits a pixel (Pillow's mode {mode}): values above 255 would become white", str(path),
                        'scale it to 8 bits first')
    if max(width, height) > LONGEST * min(width, height):
        raise DataError(f'{width}x{height} pixels are a line rather than an image', str(path), 'cut it into pieces')
    return LoadImage()(dict(img_path=str(path)))['img']
