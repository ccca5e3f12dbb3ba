"""How a photograph is turned: by a number in its file, and its pixels stay as the camera wrote them."""
import numpy as np
from PIL import ExifTags, Image

# By orientation, as Pillow's ImageOps.exif_transpose turns an image [H, W, ...]; 1 is as it is
TURNS = {
    2: lambda pixels: pixels[:, ::-1],
    3: lambda pixels: pixels[::-1, ::-1],
    4: lambda pixels: pixels[::-1],
    5: lambda pixels: pixels.swapaxes(0, 1),
    6: lambda pixels: np.rot90(pixels, -1),
    7: lambda pixels: pixels[::-1, ::-1].swapaxes(0, 1),
    8: lambda pixels: np.rot90(pixels),
}


def orientation_in(image: Image.Image, by_xmp: bool = True) -> int:
    """The orientation in an image's file, 1 to 8, without decoding it.

    Args:
        image: As Pillow opened it.
        by_xmp: Look into XMP where EXIF says nothing, as Pillow does and OpenCV does not.
    """
    if not by_xmp:
        for name in ('xmp', 'XML:com.adobe.xmp'):
            image.info.pop(name, None)
    found = Image.Image.getexif(image).get(ExifTags.Base.Orientation, 1)  # a PNG's own would decode it
    return found if found in TURNS else 1


def turned(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """Pixels [H, W] or [H, W, C] of a file as they are to be shown."""
    return np.ascontiguousarray(TURNS[orientation](pixels)) if orientation in TURNS else pixels
