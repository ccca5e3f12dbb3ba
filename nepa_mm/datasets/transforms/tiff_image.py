"""A TIFF whose windows are, to the bit, those of the image that a loader makes of the whole file."""
import numpy as np
from PIL import Image
from tifffile import COMPRESSION, EXTRASAMPLE, PHOTOMETRIC

from nepa_mm.datasets.tiff_windows import TiffWindows

from .bands import band_values

GREY = (PHOTOMETRIC.MINISBLACK, PHOTOMETRIC.MINISWHITE)
JPEGS = (COMPRESSION.OJPEG, COMPRESSION.JPEG)  # whose YCbCr is decoded as RGB
COLOR_TYPES = ('color', 'color_ignore_orientation', 'grayscale', 'grayscale_ignore_orientation', 'unchanged')  # mmcv's


def image_windows(path: str, color_type: str = 'color', backend: str = 'pillow', to_float32: bool = False,
                  channels: int | None = None) -> TiffWindows:
    """A TIFF file as :class:`LoadImage` with these arguments loads it, of which windows are read.

    Windows are BGR [h, w, 3] of uint8, with 'grayscale' [h, w], with 'unchanged' of the bands and the values of the file. With
    ``channels`` they are [h, w, channels], uint8 or else float32.

    Raises:
        DataError: If no windows can be read from it; if the loader would refuse it, turn it or make other pixels of it.
    """
    pixels = TiffWindows(path)
    if color_type not in COLOR_TYPES or backend not in ('pillow', 'cv2'):
        raise pixels.unfit(f'color_type={color_type!r} and imdecode_backend={backend!r} read no windows', 'leave them out of '
                           'nepa_mm.LoadImage')
    if pixels.orientation != 1 and 'ignore' not in color_type:
        raise pixels.unfit(f'it is to be turned as it is shown (orientation {pixels.orientation}), and windows are not', 'turn '
                           'its pixels, and save it without the tag')
    if channels is not None:
        found = as_bands(pixels, channels)
    elif color_type == 'unchanged':
        found = pixels.mapped(first_three_swapped, pixels.bands, pixels.dtype) if pixels.bands > 2 else pixels
    else:
        require_photo(pixels, backend)
        found = pixels.mapped(as_bgr(pixels), 3)
        if color_type.startswith('grayscale'):
            found = found.mapped(as_grey)
    return found.mapped(np.float32, *found.shape[2:], dtype=np.float32) if to_float32 else found


def require_photo(pixels: TiffWindows, backend: str) -> None:
    """Refuse what is not grey or RGB of 8 bits, with transparency or without; and what Pillow changes as it decodes the whole."""
    page, bands, bits = pixels.page, pixels.bands, pixels.page.bitspersample
    photometric = page.photometric
    if bits in range(1, 8) and (photometric != PHOTOMETRIC.PALETTE or bits == 1):
        raise pixels.unfit(f'{bits} bits a pixel, which become 8 in the whole image', 'save it with 8 bits')
    if pixels.dtype != np.uint8:
        raise pixels.unfit(f'more than 8 bits a pixel ({pixels.dtype}): values above 255 would become white',
                           'scale it to 8 bits first')
    if photometric == PHOTOMETRIC.YCBCR and page.compression not in JPEGS:
        raise pixels.unfit(f'YCBCR with compression {page.compression.name}, which becomes RGB in the whole image', 'save RGB')
    if not (photometric in (PHOTOMETRIC.RGB, PHOTOMETRIC.YCBCR) and bands in (3, 4)
            or photometric in (*GREY, PHOTOMETRIC.PALETTE) and bands in (1, 2)):
        raise pixels.unfit(f'{bands} bands, {photometric.name}, are no RGB', 'save RGB')
    if EXTRASAMPLE.ASSOCALPHA in page.extrasamples:
        raise pixels.unfit('colours multiplied by their transparency, which are divided by it in the whole image',
                           'save it without transparency')
    if backend == 'cv2' and bands in (2, 4):  # which multiplies by what is opaque
        raise pixels.unfit(f'{bands} bands, of which OpenCV makes other pixels', "set imdecode_backend='pillow'")


def as_bands(pixels: TiffWindows, channels: int) -> TiffWindows:
    """All bands in the order of the file, [h, w, channels], uint8 or float32."""
    if pixels.bands != channels or pixels.palette is not None:
        held = 'numbers of a palette' if pixels.palette is not None else f'{pixels.bands} channels in its first image'
        raise pixels.unfit(f'{held}, and not {channels} channels', 'save one image of height x width x bands, or set channels of '
                           'LoadImage')
    where = f'img_path={pixels.path!r}'
    return pixels.mapped(lambda window: band_values(np.atleast_3d(window), where), channels,
                         np.uint8 if pixels.dtype in (np.uint8, bool) else np.float32)


def first_three_swapped(window: np.ndarray) -> np.ndarray:
    """RGB and further bands in mmcv's order, BGR and those."""
    return np.ascontiguousarray(window[..., [2, 1, 0, *range(3, window.shape[2])]])


def as_bgr(pixels: TiffWindows):
    """From windows of a file of 8 bits to BGR [h, w, 3], as Pillow makes RGB of them, without what is opaque."""
    palette, is_inverted = pixels.palette, pixels.page.photometric == PHOTOMETRIC.MINISWHITE

    def convert(window: np.ndarray) -> np.ndarray:
        if pixels.bands > 2:
            return np.ascontiguousarray(window[..., 2::-1])
        window = window[..., 0] if window.ndim > 2 else window
        if palette is not None:
            return palette[window][..., ::-1].copy()
        return np.repeat((255 - window if is_inverted else window)[..., None], 3, 2)

    return convert


def as_grey(window: np.ndarray) -> np.ndarray:
    """Pillow's grey [h, w] of BGR [h, w, 3]."""
    return np.array(Image.fromarray(np.ascontiguousarray(window[..., ::-1])).convert('L'))
