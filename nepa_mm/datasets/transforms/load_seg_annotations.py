"""Load a label map and see that it belongs to its image."""
import io
from collections.abc import Sequence

import mmcv
import numpy as np
from mmcv.transforms import BaseTransform
from mmengine import fileio
from PIL import Image

from nepa_mm.errors import ConfigError, DataError, checked_choice
from nepa_mm.registry import TRANSFORMS

from .label_palette import REMEDY, renumbered
from .label_windows import dataset_table, label_windows
from .orientation import turned

ORIENTATIONS = ('stored', 'shown')


@TRANSFORMS.register_module()
class LoadSegAnnotations(BaseTransform):
    """mmseg's ``LoadAnnotations`` for label maps [H, W] of their images' own size, and no others.

    mmseg crops image and labels apart: with a label map of another size, labels silently belong to other pixels. The size is
    compared with ``ori_shape``, that of the image as it was loaded, so the transform may follow a ``Resize``, as in tests.
    Without ``seg_map_path`` nothing is loaded: mmseg's inferencers look for ``LoadAnnotations`` alone and leave this in.

    Where :class:`LoadImage` turned a photograph by its EXIF orientation, the label map is turned with it: labels belong to the
    pixels as they are in the files. Programs that show photographs upright leave label maps that are turned already;
    ``orientation='shown'`` says so.

    ``palette``, RGB of each class, is for :class:`CheckSegInputsHook` and ``tools/misc/verify_dataset.py`` to set, as the dataset
    has it: then a label map whose own palette contradicts its numbers is refused (see :func:`renumbered`).

    Args:
        values: Labels of values in the files that are no label themselves: {255: 1} of masks that are 0 and 255, {1000: 1} of
            16 bits. Values that it lacks stay as they are.
        colours: RGB of each class, of label maps that are coloured, with a palette of any order or without; pixels of other
            colours are 255, which is ignored.
        orientation: Which pixels of a photograph labels belong to: as they are 'stored' in its file, or as they are 'shown'.
        whole: Whether to decode all of a TIFF. False leaves it in its file, a :class:`TiffWindows`, of which :class:`RandomCrop`
            reads a crop; other files of more than 4096 x 4096 pixels are refused.
        **kwargs: ``reduce_zero_label``, ``imdecode_backend`` and ``backend_args`` of ``LoadAnnotations``.

    Raises:
        ConfigError: For ``values`` beyond 16 bits or labels beyond 8, for ``colours`` that are none, for both, or for one of them
            with a dataset that renumbers its labels itself.
        DataError: If the label map cannot be read, has several channels or a label above 255, was renumbered, or is of another
            size than its image.
    """
    palette = None

    def __init__(self, values: dict[int, int] | None = None, colours: Sequence[Sequence[int]] | None = None,
                 orientation: str = 'stored', whole: bool = True, **kwargs) -> None:
        from mmseg.datasets.transforms import LoadAnnotations  # slow, and not there where nothing is segmented
        self.load = LoadAnnotations(**kwargs)
        self.orientation, self.whole = checked_choice('orientation', orientation, ORIENTATIONS), whole
        self.values, self.colours = dict(values or {}), colours
        self.label_of = np.arange(256, dtype=np.uint8)
        if self.values or colours is not None:
            self.label_of = label_table(self.values) if colours is None else colour_table(colours, self.values)

    def transform(self, results: dict) -> dict:
        """Add ``gt_seg_map`` [H, W] and its name to ``seg_fields``."""
        if 'seg_map_path' not in results:
            return results
        where = f'seg_map_path={results["seg_map_path"]!r}'
        windows = None if self.whole else label_windows(results, self)
        if windows is not None:
            results['gt_seg_map'] = windows
            results['seg_fields'].append('gt_seg_map')
            return results
        try:
            results = self.load(results) if self.label_of.size == 256 else self.load_wide(results)
        except AssertionError:  # mmseg's own: reduce_zero_label differs from the dataset's
            raise
        except Exception as error:  # decoders raise nearly everything on broken files
            reason = ' '.join(str(error).split())
            raise DataError(f'it cannot be read as a label map ({type(error).__name__}: {reason})', where,
                            'mend the file, or take the image out of the dataset') from error
        shape, expected = results['gt_seg_map'].shape, results.get('ori_shape')
        if len(shape) != 2:
            raise DataError(f'{shape[-1]} channels, and a label map has one, of class numbers', where,
                            'write the index of each colour in the palette instead of the colour')
        if self.values or self.colours is not None:
            self.require_one_mapping(results)
            results['gt_seg_map'] = self.label_of[results['gt_seg_map']]
        if self.orientation == 'stored':
            results['gt_seg_map'] = turned(results['gt_seg_map'], results.get('orientation', 1))
        if expected is not None and results['gt_seg_map'].shape != tuple(expected[:2]):
            raise self.other_size(results, shape, where)
        said = self.renumbering(results) if self.palette is not None and self.label_of.size == 256 else None
        if said:
            raise DataError(f'its palette contradicts its numbers: {said}', where, REMEDY)
        wrong = self.wide_labels(results['seg_map_path']) if self.colours is None else []
        if wrong:
            raise DataError(f'labels {wrong[:5]}, of which mmseg keeps eight bits (256 becomes 0)', where,
                            'number the classes from 0 to 254, and give 255 to what is ignored')
        return results

    def require_one_mapping(self, results: dict) -> None:
        """Refuse labels that are mapped here and by their dataset."""
        if results.get('reduce_zero_label') or results.get('label_map'):
            raise ConfigError(f'{self.values or self.colours!r} maps what reduce_zero_label=True or the classes of the '
                              'dataset map too', 'values' if self.values else 'colours', 'leave one out')

    def load_wide(self, results: dict) -> dict:
        """What mmseg's loader cuts to 8 bits: colours as one number of 24 bits, and values of 16 bits."""
        with self.opened(results['seg_map_path']) as image:
            if self.colours is None:
                pixels = np.asarray(image)
                if pixels.min() < 0 or pixels.max() > 65535:
                    raise ValueError('values beyond 16 bits')
            else:
                pixels = np.asarray(image.convert('RGB')).astype(np.int32) @ (1 << 16, 1 << 8, 1)
        results['gt_seg_map'] = pixels
        results['seg_fields'].append('gt_seg_map')
        return results

    def other_size(self, results: dict, shape: tuple[int, int], where: str) -> DataError:
        """About a label map [H, W] that is not as large as its image."""
        height, width = results['ori_shape'][:2]
        what, remedy = '', 'make the label map as large as its image'
        if shape in ((height, width), (width, height)):
            what = ' (is the image turned by its EXIF orientation?)'
            if results.get('orientation', 1) != 1:
                other, = set(ORIENTATIONS) - {self.orientation}
                what = f", turned by orientation {results['orientation']}: the label map is that of the image as it is {other}"
                remedy = f'set orientation={other!r} of nepa_mm.LoadSegAnnotations, if all are so'
        return DataError(f'{shape[1]}x{shape[0]} pixels, but img_path={results.get("img_path")!r} has {width}x{height}{what}',
                         where, remedy)

    def renumbering(self, results: dict) -> str | None:
        """What shows that the label map was renumbered; of one without a palette, the header alone is read."""
        try:
            with self.opened(results['seg_map_path']) as image:
                if image.mode not in ('P', '1'):
                    return None
                return renumbered(image, self.palette, self.label_of if self.values else dataset_table(results))
        except (OSError, Image.DecompressionBombError):  # other backends read more than Pillow
            return None

    def wide_labels(self, path: str) -> list[int]:
        """Labels outside 0 to 255, which only files of more bits hold; of the others, the header alone is read."""
        try:
            with self.opened(path) as image:
                if not image.mode.startswith(('I', 'F')):  # Pillow's names of 16 and 32 bits, such as I;16
                    return []
        except (OSError, Image.DecompressionBombError):
            pass
        labels = mmcv.imfrombytes(fileio.get(path, backend_args=self.load.backend_args), flag='unchanged',
                                  backend=self.load.imdecode_backend)
        wide = np.unique(labels[(labels < 0) | (labels > 255)]).tolist()
        return [label for label in wide if label not in self.values]

    def opened(self, path: str) -> Image.Image:
        """A label map that is not decoded yet, of which Pillow has read the header."""
        backend_args = self.load.backend_args
        is_local = not backend_args and '://' not in str(path)
        return Image.open(path if is_local else io.BytesIO(fileio.get(path, backend_args=backend_args)))

    def __repr__(self) -> str:
        return (f'{type(self).__name__}(values={self.values}, colours={self.colours}, orientation={self.orientation!r}, '
                f'{"" if self.whole else "whole=False, "}{self.load})')


def label_table(values: dict[int, int]) -> np.ndarray:
    """The label of each value in a file: [256], or [65536] where values are of 16 bits, uint8.

    Raises:
        ConfigError: For a value or a label that cannot be.
    """
    for value, label in values.items():
        if not all(isinstance(number, int) and 0 <= number <= most for number, most in ((value, 65535), (label, 255))):
            raise ConfigError(f'{values!r} maps {value!r} to {label!r}, and label maps hold 0 to 255, of 16 bits to 65535',
                              'values', 'give such')
    table = np.arange(65536 if max(values) > 255 else 256, dtype=np.uint16).astype(np.uint8)
    table[list(values)] = list(values.values())
    return table


def colour_table(colours: Sequence[Sequence[int]], values: dict[int, int]) -> np.ndarray:
    """The label of each colour, which is a number of 24 bits, red first: uint8 [2^24].

    Raises:
        ConfigError: For what is no colour, one that two classes have, or values beside colours.
    """
    if values:
        raise ConfigError(f'{values!r} beside colours, which are labels themselves', 'values', 'leave one out')
    numbers = []
    for colour in colours:
        if len(colour) != 3 or not all(isinstance(part, int) and 0 <= part <= 255 for part in colour):
            raise ConfigError(f'{colour!r} is no colour', 'colours', 'give red, green and blue of each class, from 0 to 255')
        numbers.append(colour[0] << 16 | colour[1] << 8 | colour[2])
    if len(set(numbers)) < len(numbers) or len(numbers) > 255:
        raise ConfigError(f'{len(set(numbers))} colours for {len(numbers)} classes', 'colours', 'give each class a colour of its '
                          'own, to 255 classes at most')
    table = np.full(1 << 24, 255, np.uint8)
    table[numbers] = range(len(numbers))
    return table
