"""Label maps, each read once: its size, and how many pixels it has of each value or colour."""
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image

from nepa_mm.datasets.tiff_windows import TiffWindows, is_large
from nepa_mm.datasets.transforms.bands import layout_of
from nepa_mm.datasets.transforms.label_palette import entries
from nepa_mm.errors import DataError

from .files import by_several
from .mask_pairs import Pair

LOSSY = ('.jpg', '.jpeg', '.jpe', '.jfif')
MOST_COLOURS = 4096  # of one file, that are kept
PART = 2**22  # pixels that are counted at a time, which takes 64 MiB


@dataclass(frozen=True)
class Mask:
    """What one label map holds."""
    path: Path
    kind: str = ''  # 'values', 'palette' or 'colours'
    pixels: dict = field(default_factory=dict)  # of each value, or colour (r, g, b)
    palette: dict[int, tuple] = field(default_factory=dict)  # colours of the values that it has
    turned: str = ''  # 'stored' or 'shown': the pixels of a turned photograph that its size is of
    error: str | None = None


def read_masks(pairs: Sequence[Pair], workers: int | None = None) -> list[Mask]:
    """All label maps, in order.

    Raises:
        ProcessError: If a process died.
    """
    return list(by_several(mask_of, pairs, workers, f'{len(pairs)} label maps'))


def mask_of(pair: Pair) -> Mask:
    """What a label map holds, and whether it is of its image's size."""
    image_path, path = pair
    try:
        if is_large(path):
            windows = TiffWindows(path, 'seg_map_path')
            size, palette = windows.shape[1::-1], [] if windows.palette is None else windows.palette.tolist()
            colours, (kind, pixels) = dict(enumerate(map(tuple, palette))), counted_in_file(windows)
        else:
            with Image.open(path) as image:
                size, colours = image.size, dict(enumerate(entries(image))) if image.mode == 'P' else {}
                kind, pixels = counted(image)
    except DataError as error:
        return Mask(path, error=error.what)
    except Exception as error:  # Pillow raises nearly everything
        return Mask(path, error=f'it cannot be read as a label map ({type(error).__name__}: {" ".join(str(error).split())})')
    try:
        with open(image_path, 'rb') as file:
            layout = layout_of(file, str(image_path))
        stored, orientation = layout.size, layout.orientation
    except Exception:  # the images are looked at by themselves
        stored, orientation = size, 1
    turned = orientation >= 5 and stored[0] != stored[1]
    shown = stored[::-1] if turned else stored
    if size not in (stored, shown):
        return Mask(path, kind, pixels, error=f'{size[0]} x {size[1]} pixels, and its image has {shown[0]} x {shown[1]}')
    return Mask(path, kind, pixels, {value: colours[value] for value in pixels if value in colours},
                ('stored' if size == stored else 'shown') if turned else '')


def counted(image: Image.Image) -> tuple[str, dict]:
    """The kind of a label map, and its pixels by value or colour."""
    is_coloured = image.mode in ('RGB', 'RGBA', 'LA', 'CMYK', 'YCbCr', 'HSV', 'LAB', 'RGBX', 'PA')
    pixels = np.asarray(image.convert('RGB') if is_coloured else image)
    step = max(PART // pixels.shape[1], 1)
    kind = 'colours' if is_coloured else 'palette' if image.mode == 'P' else 'values'
    return kind, counts_of(pixels[top:top + step] for top in range(0, len(pixels), step))


def counted_in_file(pixels: TiffWindows) -> tuple[str, dict]:
    """The same of a large TIFF, which is never whole in memory."""
    if pixels.bands not in (1, 3) or pixels.bands == 3 and pixels.dtype != np.uint8:
        raise ValueError(f'{pixels.bands} bands of {pixels.dtype}')
    kind = 'colours' if pixels.bands == 3 else 'values' if pixels.palette is None else 'palette'
    return kind, counts_of(pixels.rows(PART * pixels.bands))


def counts_of(parts: Iterable[np.ndarray]) -> dict:
    """Pixels of each value in parts [h, w], or of each colour (r, g, b) in parts [h, w, 3], the most frequent ones."""
    found, is_coloured = Counter(), False
    for part in parts:
        is_coloured = part.ndim > 2
        if part.dtype.kind == 'f':
            raise ValueError(f'numbers with a point, {part.dtype}')
        if is_coloured:
            part = part.astype(np.int32) @ (1 << 16, 1 << 8, 1)
        if part.dtype in (np.uint8, np.uint16, bool):
            counts = np.bincount(part.ravel())
            values = np.flatnonzero(counts)
            counts = counts[values]
        else:
            values, counts = np.unique(part, return_counts=True)
        if not is_coloured and (values[0] < 0 or values[-1] > 65535):
            raise ValueError(f'values from {values[0]} to {values[-1]}, and label maps hold 0 to 65535')
        found.update(dict(zip(values.tolist(), counts.tolist())))
    if is_coloured:
        return {(value >> 16, value >> 8 & 255, value & 255): count for value, count in found.most_common(MOST_COLOURS)}
    return dict(sorted(found.items()))


@dataclass
class Labels:
    """What all label maps hold together."""
    kind: str
    pixels: Counter  # of each value, or colour
    palette: dict[int, tuple] = field(default_factory=dict)  # of values, where the maps agree on it
    orientation: str = 'stored'
    is_lossy: bool = False

    @property
    def total(self) -> int:
        return sum(self.pixels.values())

    @classmethod
    def of(cls, masks: Sequence[Mask]) -> 'Labels':
        """By value, as long as palettes agree, else by colour: of files that differ, what is seen is meant.

        Raises:
            DataError: If some are numbers and others colours, or some of photographs as shown and others as stored.
        """
        kinds, palette = {mask.kind for mask in masks}, {}
        agrees = True
        for mask in masks:
            agrees = agrees and all(palette.setdefault(value, colour) == colour for value, colour in mask.palette.items())
        if 'colours' in kinds and 'values' in kinds:
            first = {kind: next(mask.path for mask in masks if mask.kind == kind) for kind in kinds}
            raise DataError(f'it holds numbers, and {str(first["colours"])!r} colours', str(first['values']), 'save all alike')
        turned = {mask.turned for mask in masks} - {''}
        if len(turned) > 1:
            raise DataError('some label maps are of photographs as they are stored, others as they are shown',
                            str(next(mask.path for mask in masks if mask.turned == 'shown')), 'save all alike')
        by_colour = 'colours' in kinds or not agrees
        pixels = Counter()
        for mask in masks:
            for value, count in mask.pixels.items():
                pixels[mask.palette[value] if by_colour and mask.kind == 'palette' else value] += count
        kind = 'colours' if by_colour else 'palette' if kinds == {'palette'} else 'values'
        return cls(kind, pixels, {} if by_colour else palette, turned.pop() if turned else 'stored',
                   any(mask.path.suffix.lower() in LOSSY for mask in masks))


def require_sound_masks(masks: Sequence[Mask], leave_out: bool) -> set[Path]:
    """Label maps that no training could load, and that are to be left out.

    Raises:
        DataError: If there are some and they are not to be left out; if no other is there.
    """
    broken = [mask for mask in masks if mask.error is not None]
    if broken and (not leave_out or len(broken) == len(masks)):
        remedy = 'mend them' + ', or add --leave-out-broken' * (len(broken) < len(masks))
        raise DataError(f'{len(broken)} of {len(masks)} label maps do not fit: {broken[0].error}', str(broken[0].path), remedy)
    return {mask.path for mask in broken}
