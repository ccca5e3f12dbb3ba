"""Decode a JPEG with torchvision, to Pillow's pixels in less time."""
import numpy as np
import torch
from mmengine import fileio
from PIL import Image
from torch import Tensor
from torchvision.io import decode_jpeg

from ..errors import ConfigError
from ..registry import TRANSFORMS
from .load_image import LoadImage

JPEG = b'\xff\xd8\xff'
XMP_ORIENTATION = b'tiff:Orientation'  # Pillow turns an image by it where EXIF says nothing; torchvision reads EXIF only


@TRANSFORMS.register_module()
class DecodeImage(LoadImage):
    """:class:`LoadImage` for transforms that take torchvision's tensors: the same pixels, uint8 RGB [3, H, W].

    torchvision's libjpeg and Pillow's give equal bytes, and torchvision's tensor needs no turning from RGB to BGR and back. What
    it does not decode as Pillow does goes to Pillow: CMYK, orientation in XMP, other formats than JPEG, and what it refuses,
    so that errors too are those of :class:`LoadImage`. (Of a damaged file that decodes nevertheless, in both to the same pixels,
    torchvision's libjpeg prints a line.) Memory is laid out as the decoder leaves it, pixel by pixel, which is
    what torchvision resizes fastest.

    Args:
        backend: 'torchvision'; or 'pillow' for a PIL image in RGB, on which torchvision's transforms are Pillow's, those of
            the release to the bit.
        **kwargs: ``backend_args`` and ``ignore_empty`` of ``LoadImageFromFile``.

    Raises:
        ConfigError: For another backend.
        DataError: If the image cannot be read or decoded, a truncated one too (with ``ignore_empty``, None is returned).
    """

    def __init__(self, backend: str = 'torchvision', **kwargs) -> None:
        if backend not in ('torchvision', 'pillow'):
            raise ConfigError(f"pipeline: DecodeImage.backend={backend!r} is unknown; choose 'torchvision' or 'pillow'")
        super().__init__(**kwargs)
        self.backend = backend

    def transform(self, results: dict) -> dict | None:
        """Add ``img``, ``img_shape`` and ``ori_shape`` (H, W). An ``img`` in mm's BGR that is there already is converted."""
        pixels = None
        if self.backend == 'torchvision' and 'img' not in results:
            pixels = decode(self._content(results))
        if pixels is not None:
            results.pop('img_bytes', None)
            results['img_shape'] = results['ori_shape'] = tuple(pixels.shape[1:])
        else:
            results = super().transform(results)
            if results is None:
                return None
            array = np.ascontiguousarray(results['img'][..., ::-1])  # RGB [H, W, 3]
            pixels = Image.fromarray(array) if self.backend == 'pillow' else torch.from_numpy(array).permute(2, 0, 1)
        results['img'] = pixels
        return results

    def _content(self, results: dict) -> bytes:
        """Encoded bytes; none if the file cannot be read, of which the parent says more. A file read is not read again."""
        content, path = results.get('img_bytes'), str(results.get('img_path'))
        if content is None:
            try:
                if self.backend_args is None and ':' not in path:  # a file, not s3:// or the like: mmengine asks for 0.1 ms
                    with open(path, 'rb') as file:
                        content = file.read()
                else:
                    content = fileio.get(path, backend_args=self.backend_args)
            except OSError:
                return b''
            results['img_bytes'] = content
        return content

    def __repr__(self) -> str:
        return f'{type(self).__name__}(backend={self.backend!r})'


def decode(content: bytes) -> Tensor | None:
    """Pixels of a JPEG, uint8 RGB [3, H, W], turned by EXIF; None for what Pillow has to decode."""
    if not content.startswith(JPEG) or XMP_ORIENTATION in header(content):
        return None
    try:
        # A copy, because torch warns of bytes, which it could not write to. Channels as they are: CMYK shows by its four.
        pixels = decode_jpeg(torch.frombuffer(bytearray(content), dtype=torch.uint8), apply_exif_orientation=True)
    except RuntimeError:  # broken, or of a kind that torchvision does not know
        return None
    if len(pixels) == 1:
        return pixels.expand(3, -1, -1)
    return pixels if len(pixels) == 3 else None


def header(content: bytes) -> bytes:
    """Bytes of a JPEG before its pixels: segments of a marker, 0xFF and its kind, and a length in two bytes, up to SOS (0xDA)."""
    place = 2
    while content[place:place + 1] == b'\xff' and content[place + 1:place + 2] != b'\xda':
        place += 2 + int.from_bytes(content[place + 2:place + 4], 'big')
    return content[:place]
