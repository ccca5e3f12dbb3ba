"""Load a label map and see that it belongs to its image."""
import io

import mmcv
import numpy as np
from mmcv.transforms import BaseTransform
from mmengine import fileio
from PIL import Image

from ..errors import DataError
from ..registry import TRANSFORMS


@TRANSFORMS.register_module()
class LoadSegAnnotations(BaseTransform):
    """mmseg's ``LoadAnnotations`` for label maps [H, W] of their images' own size, and no others.

    mmseg crops image and labels apart: with a label map of another size, labels silently belong to other pixels. The size is
    compared with ``ori_shape``, that of the image as it was loaded, so the transform may follow a ``Resize``, as in tests.
    Without ``seg_map_path`` nothing is loaded: mmseg's inferencers look for ``LoadAnnotations`` alone and leave this in.

    Args:
        **kwargs: ``reduce_zero_label``, ``imdecode_backend`` and ``backend_args`` of ``LoadAnnotations``.

    Raises:
        DataError: If the label map cannot be read, has several channels or a label above 255, or is of another size than its
            image.
    """

    def __init__(self, **kwargs) -> None:
        from mmseg.datasets.transforms import LoadAnnotations  # slow, and not there where nothing is segmented
        self.load = LoadAnnotations(**kwargs)

    def transform(self, results: dict) -> dict:
        """Add ``gt_seg_map`` [H, W] and its name to ``seg_fields``."""
        if 'seg_map_path' not in results:
            return results
        where = f'seg_map_path={results["seg_map_path"]!r}'
        try:
            results = self.load(results)
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
        if expected is not None and shape != tuple(expected[:2]):
            turned = ' (is the image turned by its EXIF orientation?)' if shape == tuple(expected[1::-1]) else ''
            raise DataError(f'{shape[1]}x{shape[0]} pixels, but img_path={results.get("img_path")!r} has '
                            f'{expected[1]}x{expected[0]}{turned}', where, 'make the label map as large as its image')
        wrong = self.wide_labels(results['seg_map_path'])
        if wrong:
            raise DataError(f'labels {wrong[:5]}, of which mmseg keeps eight bits (256 becomes 0)', where,
                            'number the classes from 0 to 254, and give 255 to what is ignored')
        return results

    def wide_labels(self, path: str) -> list[int]:
        """Labels outside 0 to 255, which only files of more bits hold; of the others, the header alone is read."""
        backend_args = self.load.backend_args
        is_local = not backend_args and '://' not in str(path)
        content = None if is_local else fileio.get(path, backend_args=backend_args)
        try:
            with Image.open(path if is_local else io.BytesIO(content)) as image:
                if not image.mode.startswith(('I', 'F')):  # Pillow's names of 16 and 32 bits, such as I;16
                    return []
        except (OSError, Image.DecompressionBombError):  # other backends read more than Pillow
            pass
        content = content or fileio.get(path, backend_args=backend_args)
        labels = mmcv.imfrombytes(content, flag='unchanged', backend=self.load.imdecode_backend)
        return np.unique(labels[(labels < 0) | (labels > 255)]).tolist()

    def __repr__(self) -> str:
        return f'{type(self).__name__}({self.load})'
