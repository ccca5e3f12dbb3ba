"""A JPEG of which parts are decoded, so that a crop does not pay for what it leaves out.

nvImageCodec does so on the CPU, by libjpeg-turbo: it reads the whole file and works out the pixels of the part alone, Pillow's.
"""
import io
import os
import struct
import tempfile
import threading
import warnings
from collections.abc import Callable
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType

import numpy as np
from PIL import Image

from .orientation import orientation_in, turned

JPEG = b'\xff\xd8\xff'
ORIENTATIONS = (b'Exif\x00', b'tiff:Orientation')  # where a photograph may say how it is turned: in EXIF, else in XMP
FRAMES = (0xc0, 0xc1)  # SOF of one pass in Huffman's codes. Of a damaged progressive file, Pillow smooths what the whole is to be
LEAST = 64  # pixels across. libjpeg-turbo blends the chroma of a part that has but one column of it with what is not there
OF_THREAD = threading.local()
Whole = Callable[[], np.ndarray | None]


def no_pixels() -> None:
    """Where nobody decodes a whole file."""


class EncodedJpeg:
    """A JPEG file, grey or in colour, that is not decoded yet; ``shape`` is (H, W, 3) of the picture as it is shown.

    What is damaged within its pixels is not seen, as by Pillow, which refuses such a file only where a marker is damaged.

    Args:
        content: The file.
        size: Height and width of the pixels in it.
        orientation: How they are turned to be shown, 1 to 8, as EXIF counts.
        decode: Decodes the whole file, to RGB as it is shown, where a part fails; it raises what is wrong, or gives None.
    """

    def __init__(self, content: bytes, size: tuple[int, int], orientation: int, decode: Whole = no_pixels) -> None:
        self.content, self.size, self.orientation, self.decode = content, size, orientation, decode
        self.shape = (*(size if orientation < 5 else size[::-1]), 3)

    @classmethod
    def of(cls, content: bytes, decode: Whole = no_pixels) -> 'EncodedJpeg | None':
        """A file of these bytes; None if it has to be decoded as a whole, to pixels or to the error that is wrong with it.

        That is: other formats, progressive JPEGs (of whose time a part saves 8 %), CMYK, 12 bits, arithmetic coding, what is cut
        off or damaged before its pixels; and all without nvImageCodec.
        """
        if codec() is None:
            return None
        place, frame = read_header(content)
        # A file that is cut off has no end, of which nvImageCodec says nothing: it may paint what is missing grey.
        if frame is None or content.rfind(b'\xff\xd9', place) < 0:
            return None
        kind, bits, height, width, channels = struct.unpack('>xB2xBHHB', frame)
        if kind not in FRAMES or bits != 8 or not height or not width or channels not in (1, 3):
            return None
        orientation = orientation_of(content, place)
        return None if orientation is None else cls(content, (height, width), orientation, decode)

    def region(self, left: int, top: int, width: int, height: int) -> np.ndarray | None:
        """Pillow's pixels of a part of the picture as it is shown, uint8 RGB [height, width, 3].

        If they cannot be decoded alone, they are cut from the whole; None if that is none either.
        """
        rows, columns = self.size
        x, y, w, h = (left, top, width, height) if self.orientation < 5 else (top, left, height, width)  # in the file
        if self.orientation in (2, 3, 7, 8):
            x = columns - x - w
        if self.orientation in (3, 4, 6, 7):
            y = rows - y - h
        begin = max(0, min(x, columns - LEAST))
        end = min(columns, max(x + w, begin + LEAST))
        decoder, params = decoder_of_thread()
        part = codec().CodeStream(self.content).get_sub_code_stream(region=codec().Region(y, begin, y + h, end))
        image = decoder.decode(part, params=params)
        if image is not None:
            return turned(np.asarray(image)[:, x - begin:x - begin + w], self.orientation)
        pixels = self.decode()
        return None if pixels is None else pixels[top:top + height, left:left + width]

    def __getitem__(self, place: tuple) -> np.ndarray:
        """Rows and columns in mm's BGR [h, w, 3], as of an array: mmseg's ``RandomCrop`` takes what it needs."""
        rows, columns, *_ = place
        (top, bottom, _), (left, right, _) = rows.indices(self.shape[0]), columns.indices(self.shape[1])
        return np.ascontiguousarray(self.region(left, top, right - left, bottom - top)[..., ::-1])

    def copy(self) -> np.ndarray:
        """All of its pixels in mm's BGR [H, W, 3]: so mmpretrain's browse_dataset keeps what each step leaves."""
        height, width = self.shape[:2]
        return np.ascontiguousarray(self.region(0, 0, width, height)[..., ::-1])


@cache
def codec() -> ModuleType | None:
    """nvImageCodec, None if it is not installed or cannot be imported.

    As it is imported it looks for all its decoders, and complains of each whose library for GPUs is missing. It is shown that of
    libjpeg-turbo alone, in a folder that it needs no longer afterwards.
    """
    with tempfile.TemporaryDirectory() as only:
        told = dict(NVIMGCODEC_EXTENSIONS_PATH=only, PYNVIMGCODEC_VERBOSITY='0')  # who decodes the whole file says what is wrong
        before = {name: os.environ.get(name) for name in told}
        try:
            folder = Path(find_spec('nvidia.nvimgcodec').origin).parent / 'extensions'
            os.symlink(next(folder.glob('libjpeg_turbo_ext.*')), Path(only, 'libjpeg_turbo_ext.so'))
            os.environ.update(told)
            return import_module('nvidia.nvimgcodec')
        except (ImportError, AttributeError, StopIteration):
            return None
        finally:
            for name, value in before.items():
                os.environ.pop(name, None)
                if value is not None:
                    os.environ[name] = value


def decoder_of_thread() -> tuple:
    """nvImageCodec's decoder, which serves this thread and starts none, and its settings."""
    if not hasattr(OF_THREAD, 'decoder'):
        module = codec()
        OF_THREAD.decoder = module.Decoder(device_id=module.NVIMGCODEC_DEVICE_CPU_ONLY, max_num_cpu_threads=1,
                                           backends=[module.Backend(module.CPU_ONLY)])
        OF_THREAD.params = module.DecodeParams(apply_exif_orientation=False, color_spec=module.SRGB)
    return OF_THREAD.decoder, OF_THREAD.params


def read_header(content: bytes) -> tuple[int, bytes | None]:
    """Where the pixels of a JPEG begin, 0 if it is none or has no such place; and its frame's first ten bytes, if it has one.

    A segment is a marker, 0xFF (or several) and its kind, and a length in two bytes. The frame (SOF: 0xC0 to 0xCF, less three)
    says bits, height, width and channels. The last segment before the pixels is SOS (0xDA).
    """
    place, frame = 2 if content.startswith(JPEG) else len(content), None
    while content[place:place + 1] == b'\xff':
        kind = content[place + 1:place + 2]
        if kind == b'\xda':
            return place, frame
        if b'\xc0' <= kind <= b'\xcf' and kind not in (b'\xc4', b'\xc8', b'\xcc') and len(content) >= place + 10:
            frame = content[place:place + 10]
        place += 1 if kind == b'\xff' else 2 + int.from_bytes(content[place + 2:place + 4], 'big')
    return 0, None


def orientation_of(content: bytes, place: int) -> int | None:
    """How Pillow turns a JPEG whose pixels begin at ``place``, 1 to 8; None if it cannot tell."""
    if not any(content.find(name, 0, place) >= 0 for name in ORIENTATIONS):
        return 1
    try:
        with warnings.catch_warnings(), Image.open(io.BytesIO(content)) as image:
            warnings.simplefilter('ignore')  # of damaged EXIF
            return orientation_in(image)
    except Exception:  # it will say why when it decodes
        return None
