"""Load a label map and see that it belongs to its image."""
from mmcv.transforms import BaseTransform

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
        DataError: If the label map cannot be read, has several channels, or is of another size than its image.
    """

    def __init__(self, **kwargs) -> None:
        from mmseg.datasets.transforms import LoadAnnotations  # slow, and not there where nothing is segmented
        self.load = LoadAnnotations(**kwargs)

    def transform(self, results: dict) -> dict:
        """Add ``gt_seg_map`` [H, W] and its name to ``seg_fields``."""
        if 'seg_map_path' not in results:
            return results
        what = f'seg_map_path={results["seg_map_path"]!r}'
        try:
            results = self.load(results)
        except AssertionError:  # mmseg's own: reduce_zero_label differs from the dataset's
            raise
        except Exception as error:  # decoders raise nearly everything on broken files
            reason = ' '.join(str(error).split())
            raise DataError(f'{what} cannot be read as a label map ({type(error).__name__}: {reason}); mend the file, or take '
                            'the image out of the dataset') from error
        shape, expected = results['gt_seg_map'].shape, results.get('ori_shape')
        if len(shape) != 2:
            raise DataError(f'{what} has {shape[-1]} channels, and a label map has one, of class numbers; write the index of '
                            'each colour in the palette instead of the colour')
        if expected is not None and shape != tuple(expected[:2]):
            turned = ' (is the image turned by its EXIF orientation?)' if shape == tuple(expected[1::-1]) else ''
            raise DataError(f'{what} has {shape[1]}x{shape[0]} pixels, but img_path={results.get("img_path")!r} has '
                            f'{expected[1]}x{expected[0]}{turned}; a label map is as large as its image')
        return results

    def __repr__(self) -> str:
        return f'{type(self).__name__}({self.load})'
