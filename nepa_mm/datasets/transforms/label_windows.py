"""A label map that stays in its file: windows of a TIFF, with the labels that the loader makes of the whole."""
import warnings
from math import prod

import numpy as np
from PIL import Image
from tifffile import PHOTOMETRIC

from nepa_mm.datasets.tiff_windows import LARGE, TiffWindows, is_large, is_tiff
from nepa_mm.errors import DataError

from .label_palette import REMEDY


def label_windows(results: dict, loader) -> TiffWindows | None:
    """The label map of an image, [H, W], of which windows are read; None where it has to be decoded as a whole.

    Args:
        results: About the image, as a dataset and the loader of the image give it.
        loader: The :class:`LoadSegAnnotations` whose labels they are.

    Raises:
        DataError: If that is too large to be decoded so, or for what the loader itself refuses.
    """
    path = results['seg_map_path']
    if not is_tiff(path):
        refuse_large(path)
        return None
    try:
        return mapped(TiffWindows(path, 'seg_map_path'), results, loader)
    except DataError:
        if is_large(path) or prod((results.get('ori_shape') or (0, ))[:2]) > LARGE:
            raise
        return None  # which says what is wrong, or decodes more kinds


def refuse_large(path: str) -> None:
    """Refuse a file of which no windows can be read, and that is too large for each crop to decode all of it."""
    try:
        with warnings.catch_warnings(), Image.open(path) as image:
            (width, height), kind = image.size, image.format
    except (OSError, ValueError, Image.DecompressionBombError):  # a fault for who decodes it
        return
    if width * height > LARGE:
        raise DataError(f'{width}x{height} pixels, {kind}, of which no windows can be read', f'seg_map_path={path!r}',
                        'save it as a tiled TIFF')


def mapped(pixels: TiffWindows, results: dict, loader) -> TiffWindows:
    """Labels instead of values or colours; size, kind and palette of the file must be right."""
    if pixels.shape[:2] != tuple((results.get('ori_shape') or pixels.shape)[:2]):
        raise loader.other_size(results, pixels.shape[:2], f'seg_map_path={pixels.path!r}')
    if loader.orientation == 'stored' and results.get('orientation', 1) != 1:
        raise pixels.unfit('its image is turned by its EXIF orientation, and windows are not', 'turn the pixels of both')
    if loader.values or loader.colours is not None:
        loader.require_one_mapping(results)
    if loader.colours is not None:
        if pixels.dtype != np.uint8 or pixels.palette is None and pixels.bands != 3:
            raise pixels.unfit(f'{pixels.bands} bands of {pixels.dtype} are no colours', 'save RGB, or leave out colours')
        return pixels.mapped(lambda window: loader.label_of[numbers_of(window, pixels.palette)])
    if pixels.page.bitspersample in range(2, 8) and pixels.palette is None:
        raise pixels.unfit(f'{pixels.page.bitspersample} bits a pixel, which become 8 in the whole map', 'save it with 8 bits')
    if pixels.bands != 1 or pixels.dtype not in (np.uint8, np.uint16, bool) or pixels.page.photometric == PHOTOMETRIC.MINISWHITE:
        raise pixels.unfit(f'{pixels.bands} bands of {pixels.dtype}, {pixels.page.photometric.name}: a label map has one, of '
                           'class numbers', 'save class numbers of 8 or 16 bits in one band')
    if pixels.palette is not None and loader.palette is not None:
        with warnings.catch_warnings():
            warnings.simplefilter('ignore')  # Pillow's, of large images
            said = loader.renumbering(results)
        if said:
            raise pixels.unfit(f'its palette contradicts its numbers: {said}', REMEDY)
    table = loader.label_of if loader.values else dataset_table(results)

    def labels(window: np.ndarray) -> np.ndarray:
        if window.dtype == np.uint16 and len(table) == 256 and window.max(initial=0) > 255:
            raise pixels.unfit(f'labels {np.unique(window[window > 255])[:5].tolist()}, of which mmseg keeps eight bits (256 '
                               'becomes 0)', 'number the classes from 0 to 254, and give 255 to what is ignored')
        return table[window.astype(np.uint8) if window.dtype == bool else window]

    return pixels.mapped(labels)


def numbers_of(window: np.ndarray, palette: np.ndarray | None) -> np.ndarray:
    """Colours [h, w, 3], or their numbers in a palette, as one number of 24 bits."""
    return (window if palette is None else palette[window]).astype(np.int32) @ (1 << 16, 1 << 8, 1)


def dataset_table(results: dict) -> np.ndarray:
    """The label of each number in a file, uint8 [256], as mmseg's ``LoadAnnotations`` makes it by what the dataset says."""
    table = np.arange(256)
    if results.get('reduce_zero_label'):
        table = np.where((table == 0) | (table == 255), 255, table - 1)
    label_map = results.get('label_map') or {}
    return np.array([label_map.get(number, number) for number in table.tolist()]).astype(np.uint8)
