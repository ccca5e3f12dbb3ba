"""Images whose channels are no red, green and blue: bands of a satellite, more than 8 bits, numbers with a point.

Their channels are called bands here; they keep their order and their numbers of the file.
"""
import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import BinaryIO

import numpy as np
from PIL import Image
from tifffile import PHOTOMETRIC, TiffFile

from nepa_mm.errors import DataError

from .orientation import TURNS, orientation_in, turned

TIFF = (b'II*\0', b'MM\0*', b'II+\0', b'MM\0+')  # the last two of more than 4 GB
COLOURS = {PHOTOMETRIC.MINISWHITE: 1, PHOTOMETRIC.MINISBLACK: 1, PHOTOMETRIC.PALETTE: 1, PHOTOMETRIC.RGB: 3, PHOTOMETRIC.YCBCR: 3,
           PHOTOMETRIC.CIELAB: 3, PHOTOMETRIC.SEPARATED: 4}  # channels of a photograph
ALPHA = (1, 2)  # TIFF's ExtraSamples of transparency; 0 is any channel
ORIENTATION = 274  # TIFF's tag
AS_ONE = 'save it as one image of height x width x bands'


@dataclass(frozen=True)
class Layout:
    """What an image file says of its pixels."""
    size: tuple[int, int]  # width and height, as stored
    orientation: int  # how they are turned to be shown, 1 to 8
    channels: int
    dtype: str  # of a value
    is_photo: bool  # of 8 bits, grey or in colours, with transparency or without, of which Pillow makes RGB
    mode: str  # channels and values in a word, for a person


def layout_of(file: BinaryIO, where: str) -> Layout:
    """The layout of an open image file, of which no pixel is decoded.

    Raises:
        DataError: For a TIFF of more than bands, rows and columns. Other errors are those of the decoders.
    """
    begin = file.read(26)
    file.seek(0)
    if begin.startswith(TIFF):
        with TiffFile(file) as tiff:
            return tiff_layout(tiff, where)
    with Image.open(file) as image:
        channels, dtype = len(image.getbands()), {'I': 'int32', 'F': 'float32'}.get(image.mode, 'uint8')
        if image.mode.startswith('I;16') or is_deep_png(begin):
            dtype = 'uint16'
        is_photo = dtype == 'uint8'
        return Layout(image.size, orientation_in(image), channels, dtype, is_photo, image.mode if is_photo else
                      f'{channels} x {dtype}')


def is_deep_png(content: bytes) -> bool:
    """Whether a file is a PNG of 16 bits a channel, of whose colours Pillow reads the upper 8."""
    return content[1:4] == b'PNG' and content[24:25] == b'\x10'


def tiff_layout(file, where: str) -> Layout:
    """The layout of an open ``TiffFile``; of pages of 8 bits that nothing calls bands, the first is the picture."""
    page, series = file.pages.first, file.series[0]
    colours, dtype, orientation = COLOURS.get(page.photometric), str(page.dtype), tiff_orientation(file)
    alphas = sum(sample in ALPHA for sample in page.extrasamples)
    called = {axis: size for axis, size in zip(series.axes, series.shape) if axis in 'CQ' and size > 1}
    is_photo = page.samplesperpixel - alphas == colours and called in ({}, dict(C=3))
    if dtype in ('bool', 'uint8') and is_photo:
        mode = 'P' if page.photometric == PHOTOMETRIC.PALETTE else {1: 'L', 3: 'RGB', 4: 'CMYK'}[colours]
        return Layout((page.imagewidth, page.imagelength), orientation, page.samplesperpixel, dtype, True, mode + 'A' * alphas)
    place, shape = band_axis(series.axes, series.shape, where)
    channels = 1 if place is None else shape.pop(place)
    return Layout((shape[1], shape[0]), orientation, channels, dtype, False, f'{channels} x {dtype}')


def tiff_orientation(file) -> int:
    """How the first page of a ``TiffFile`` is turned, 1 to 8."""
    found = file.pages.first.tags.valueof(ORIENTATION, default=1)
    return int(found) if found in TURNS else 1


def band_axis(axes: str, shape: Sequence[int], where: str) -> tuple[int | None, list[int]]:
    """The axis of the bands in a TIFF's array without axes of length 1, None if that is of rows and columns; and its shape.

    Of arrays that tifffile wrote as they came, which it takes for bands x rows x columns, the shorter of the first and the last
    axis has the bands.

    Raises:
        DataError: For more axes.
    """
    kept = [(axis, size) for axis, size in zip(axes, shape) if axis in 'YX' or size > 1]
    names, shape = ''.join(axis for axis, _ in kept), [size for _, size in kept]
    others = [place for place, axis in enumerate(names) if axis not in 'YX']
    if len(others) > 1 or len(names) - len(others) != 2:
        sides = ' x '.join(map(str, shape))
        raise DataError(f'a TIFF of {sides} numbers (axes {names}), and images have rows, columns and bands', where, AS_ONE)
    if names == 'QYX' and shape[2] < shape[0]:
        return 2, shape
    return (others[0] if others else None), shape


def decode_bands(content: bytes, where: str) -> np.ndarray:
    """All bands of an image, [H, W, C] in the order of the file, upright: uint8, or float32 where values are of another type.

    A TIFF is decoded by tifffile, 16 bits of PNG and JPEG 2000 by imagecodecs, all else by Pillow.

    Raises:
        DataError: For a palette, whose numbers are colours; for values that are no real numbers or not finite; for a TIFF of more
            than bands, rows and columns. Other errors are those of the decoders.
    """
    if content.startswith(TIFF):
        with TiffFile(io.BytesIO(content)) as file:
            orientation, series = tiff_orientation(file), file.series[0]
            refuse_palette(file.pages.first.photometric == PHOTOMETRIC.PALETTE, where)
            place, shape = band_axis(series.axes, series.shape, where)
            pixels = series.asarray().reshape(shape)
            pixels = pixels if place is None else np.moveaxis(pixels, place, -1)
    else:
        with Image.open(io.BytesIO(content)) as image:
            refuse_palette(image.mode in ('P', 'PA'), where)
            orientation = orientation_in(image)
            if is_deep_png(content):
                from imagecodecs import png_decode
                pixels = png_decode(content)
            elif image.format == 'JPEG2000':
                from imagecodecs import jpeg2k_decode
                pixels = jpeg2k_decode(content)
            else:
                pixels = np.asarray(image.convert('L') if image.mode == '1' else image)
    return np.ascontiguousarray(band_values(np.atleast_3d(turned(pixels, orientation)), where))


def band_values(pixels: np.ndarray, where: str) -> np.ndarray:
    """Values of bands as a model is fed with them: uint8, or float32 where they are of another type.

    Raises:
        DataError: For values that are no real numbers or not finite.
    """
    if pixels.dtype.kind not in 'buif':
        raise DataError(f'values of {pixels.dtype}, which are no real numbers', where, 'save real numbers')
    if pixels.dtype == bool:
        pixels = pixels * np.uint8(255)
    if pixels.dtype != np.uint8:
        with np.errstate(over='ignore'):
            pixels = pixels.astype(np.float32)
        lost = pixels.size - np.count_nonzero(np.isfinite(pixels))
        if lost:
            raise DataError(f'{lost} of {pixels.size} values are no finite numbers (NaN or infinite)', where,
                            'write a number where none is known, such as the mean of the band')
    return pixels


def refuse_palette(has_one: bool, where: str) -> None:
    if has_one:
        raise DataError('numbers of a palette, which are no values of bands', where, 'save its colours, as RGB')
