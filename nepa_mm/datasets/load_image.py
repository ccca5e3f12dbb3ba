"""Decode an image as the authors do, from a file or from the bytes that a dataset holds."""
import mmcv
import numpy as np
from mmcv.transforms import LoadImageFromFile

from ..errors import DataError
from ..registry import TRANSFORMS


@TRANSFORMS.register_module()
class LoadImage(LoadImageFromFile):
    """mmcv's ``LoadImageFromFile`` for encoded images that are no files too, with Pillow as its decoder.

    OpenCV and Pillow decode the same JPEG to slightly different pixels; the authors' are Pillow's. A photograph is turned as
    its EXIF orientation says, as Hugging Face ``datasets`` does. The image stays in mm's convention, uint8 BGR [H, W, 3].
    It is read from ``img_bytes`` where the dataset gives them, else from ``img_path``, which also names it in errors. One
    that is there already, as mmpretrain's inferencers give it, is kept.

    Args:
        imdecode_backend: As in mmcv: 'pillow', 'cv2', ...
        **kwargs: Those of ``LoadImageFromFile``.

    Raises:
        DataError: If the image cannot be read or decoded, a truncated one too (with ``ignore_empty``, None is returned).
    """

    def __init__(self, imdecode_backend: str = 'pillow', **kwargs) -> None:
        super().__init__(imdecode_backend=imdecode_backend, **kwargs)

    def transform(self, results: dict) -> dict | None:
        """Add ``img``, ``img_shape`` and ``ori_shape`` (H, W)."""
        if 'img' in results:
            return results
        content = results.pop('img_bytes', None)
        try:
            if content is None:
                return super().transform(results)
            img = mmcv.imfrombytes(content, flag=self.color_type, backend=self.imdecode_backend)
            if img is None:  # OpenCV's way to refuse
                raise ValueError('not an image')
        except Exception as error:  # decoders raise nearly everything on broken files
            if self.ignore_empty:
                return None
            raise DataError(f"img_path={results.get('img_path')!r} cannot be read as an image ({type(error).__name__}: {error}); "
                            'mend the file or take it out of the dataset') from error
        results['img'] = img.astype(np.float32) if self.to_float32 else img
        results['img_shape'] = results['ori_shape'] = img.shape[:2]
        return results
