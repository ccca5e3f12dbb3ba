"""Decode an image as the authors do, from a file or from the bytes that a dataset holds."""
import mmcv
import numpy as np
import torch
from mmcv.transforms import LoadImageFromFile
from mmengine import fileio
from PIL import UnidentifiedImageError
from torchvision.io import decode_jpeg

from ..errors import DataError
from ..registry import TRANSFORMS

JPEG = b'\xff\xd8\xff'
XMP_ORIENTATION = b'tiff:Orientation'  # Pillow turns an image by it where EXIF says nothing; torchvision reads EXIF only


@TRANSFORMS.register_module()
class LoadImage(LoadImageFromFile):
    """mmcv's ``LoadImageFromFile`` for encoded images that are no files too, to Pillow's pixels.

    OpenCV and Pillow decode the same JPEG to slightly different pixels; the authors' are Pillow's. A photograph is turned as
    its EXIF orientation says, as Hugging Face ``datasets`` does. The image stays in mm's convention, uint8 BGR [H, W, 3].
    It is read from ``img_bytes`` where the dataset gives them, else from ``img_path``, which also names it in errors. One
    that is there already, as mmpretrain's inferencers give it, is kept.

    torchvision's libjpeg gives Pillow's bytes in less time and decodes what it can (see :func:`decode`). (Of a damaged file that
    decodes nevertheless, in both to the same pixels, it prints a line.)

    Args:
        imdecode_backend: 'pillow', as above; or another of mmcv's, as it is: 'cv2', ...
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
                content = self._read(results['img_path'])
            img = decode(content) if (self.imdecode_backend, self.color_type) == ('pillow', 'color') else None
            if img is None:
                img = mmcv.imfrombytes(content, flag=self.color_type, backend=self.imdecode_backend)
            if img is None:  # OpenCV's way to refuse
                raise ValueError('not an image')
        except Exception as error:  # decoders raise nearly everything on broken files
            if self.ignore_empty:
                return None
            reason = f'{type(error).__name__}: {" ".join(str(error).split())}'  # OpenCV's has several lines
            if isinstance(error, UnidentifiedImageError):  # Pillow's names a place in memory
                reason = f'{len(content)} bytes of no format that Pillow knows'
            raise DataError(f'it cannot be read as an image ({reason})', f'img_path={results.get("img_path")!r}',
                            'mend the file or take it out of the dataset') from error
        results['img'] = img.astype(np.float32) if self.to_float32 else img
        results['img_shape'] = results['ori_shape'] = img.shape[:2]
        return results

    def _read(self, path: str) -> bytes:
        if self.file_client_args is not None:  # deprecated in mmcv, and still there
            return fileio.FileClient.infer_client(self.file_client_args, path).get(path)
        if self.backend_args is None and ':' not in str(path):  # a file, not s3:// or the like: mmengine asks for 0.1 ms
            with open(path, 'rb') as file:
                return file.read()
        return fileio.get(path, backend_args=self.backend_args)


def decode(content: bytes) -> np.ndarray | None:
    """Pixels of a JPEG, uint8 BGR [H, W, 3], turned by EXIF; None for what Pillow has to decode.

    That is: other formats, CMYK, orientation in XMP, and what torchvision refuses, so that errors are Pillow's too.
    """
    if not content.startswith(JPEG) or XMP_ORIENTATION in header(content):
        return None
    try:
        # A copy, because torch warns of bytes, which it could not write to. Channels as they are: CMYK shows by its four.
        pixels = decode_jpeg(torch.frombuffer(bytearray(content), dtype=torch.uint8), apply_exif_orientation=True)
    except RuntimeError:  # broken, or of a kind that torchvision does not know
        return None
    if len(pixels) not in (1, 3):
        return None
    if len(pixels) == 1:
        pixels = pixels.repeat(3, 1, 1)  # three planes, which transforms may write to one by one
    return pixels.permute(1, 2, 0).numpy()[..., ::-1]  # a view, as mmcv makes one of Pillow's


def header(content: bytes) -> bytes:
    """Bytes of a JPEG before its pixels: segments of a marker, 0xFF and its kind, and a length in two bytes, up to SOS (0xDA)."""
    place = 2
    while content[place:place + 1] == b'\xff' and content[place + 1:place + 2] != b'\xda':
        place += 2 + int.from_bytes(content[place + 2:place + 4], 'big')
    return content[:place]
