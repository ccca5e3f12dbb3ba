"""Decode an image as the authors do, from a file or from the bytes that a dataset holds."""
import io
import warnings
from collections.abc import Callable
from functools import cache, partial

import cv2
import mmcv
import numpy as np
import torch
import torchvision.io  # which brings torch.ops.image
from mmcv.transforms import LoadImageFromFile
from mmengine import fileio
from PIL import Image, ImageOps, UnidentifiedImageError

from nepa_mm.datasets.tiff_windows import TiffWindows, is_large, is_tiff
from nepa_mm.errors import ConfigError, DataError
from nepa_mm.hosts.type_names import name_of
from nepa_mm.registry import TRANSFORMS

from .bands import decode_bands, layout_of
from .encoded_jpeg import JPEG, ORIENTATIONS, EncodedJpeg, codec, orientation_of, read_header
from .orientation import orientation_in
from .tiff_image import image_windows

BY_PILLOW = ('color', 'grayscale', 'color_ignore_orientation', 'grayscale_ignore_orientation')  # of mmcv's colour types


@TRANSFORMS.register_module()
class LoadImage(LoadImageFromFile):
    """mmcv's ``LoadImageFromFile`` for encoded images that are no files too, to Pillow's pixels.

    A photograph is turned as its EXIF orientation says, as Hugging Face ``datasets`` does; of an animation the first picture
    counts; grey, palettes and CMYK become RGB by Pillow's ``convert('RGB')``, as in the release, and transparency is ignored.
    The image stays in mm's convention, uint8 BGR [H, W, 3]. It is read from ``img_bytes`` where the dataset gives them, else
    from ``img_path``, which also names it in errors. One that is there already, as mmpretrain's inferencers give it, is kept.

    torchvision's libjpeg gives Pillow's bytes in less time and decodes what it can (see :func:`decode`). (Of a damaged file that
    decodes nevertheless, in both to the same pixels, it prints a line.) OpenCV, mmcv's default, decodes the usual JPEG files
    to the same pixels too, with the tested versions, and CMYK to others.

    Args:
        imdecode_backend: 'pillow', as above; or another of mmcv's, as it is: 'cv2', ...
        whole: Whether to decode all of a JPEG or a TIFF. False leaves the one an :class:`EncodedJpeg` in ``img``, if nvImageCodec
            is there, and the other a :class:`TiffWindows`. The transform that has to follow decodes its crop:
            :class:`RandomResizedCropFlip`, :class:`TimmTransform`, or behind the label map :class:`RandomCrop`. Other files are
            decoded as ever, and so are TIFF files of which no windows can be read, up to 4096 x 4096 pixels; larger are refused.
        channels: Of images that are not RGB: bands, more than 8 bits, numbers with a point. The image is [H, W, channels] then,
            in the order and the numbers of its file, uint8 or else float32 (see :func:`decode_bands`), and the model's
            ``data_preprocessor`` must not swap channels. None for RGB.
        **kwargs: Those of ``LoadImageFromFile``. With ``color_type='unchanged'`` the image has the channels and the values of
            its file, [H, W] or [H, W, C], with 'grayscale' it is [H, W].

    Raises:
        DataError: If the image cannot be read or decoded, a truncated one too (with ``ignore_empty``, None is returned), or has
            values of more than 8 bits, which would be clipped (unless ``color_type='unchanged'``). With ``channels``, if it has
            another number of them, a palette, or values that are not finite.
        ConfigError: For ``channels`` that are none, or of another backend.
    """

    def __init__(self, imdecode_backend: str = 'pillow', whole: bool = True, channels: int | None = None, **kwargs) -> None:
        super().__init__(imdecode_backend=imdecode_backend, **kwargs)
        if channels is not None and (not isinstance(channels, int) or channels < 1):
            raise ConfigError(f'{channels!r} is no number of channels', 'LoadImage.channels', 'give 1 or more, or None for RGB')
        if channels is not None and (imdecode_backend != 'pillow' or self.color_type != 'color'):
            raise ConfigError(f'{channels} are read as they are in the file, without imdecode_backend and color_type',
                              'LoadImage.channels', 'leave out these two')
        self.channels = channels
        self.in_file = not whole  # of a TIFF, which may have bands as well
        self.whole = (whole or imdecode_backend != 'pillow' or self.color_type != 'color' or self.to_float32
                      or channels is not None)

    def transform(self, results: dict) -> dict | None:
        """Add ``img``, ``img_shape`` and ``ori_shape`` (H, W); with a label map, ``orientation``, by which it was turned."""
        if 'img' in results:
            return results
        content, path = results.pop('img_bytes', None), results.get('img_path')
        where = f'img_path={path!r}'
        windows = self._windows_or_none(path) if self.in_file and content is None and is_tiff(path) else None
        if windows is not None:
            results['img'], results['img_shape'], results['ori_shape'] = windows, windows.shape[:2], windows.shape[:2]
            return results if 'seg_map_path' not in results else dict(results, orientation=1)
        if content is None:
            content = self._tried(self._read, results.get('img_path'), where)
        if content is None:
            return None
        img = None if self.whole else EncodedJpeg.of(content, partial(self._rgb, content, where))
        if img is None:
            img = self._tried(partial(self._decode, where=where), content, where)
        if img is None:
            return None
        results['img'] = img.astype(np.float32) if self.to_float32 else img
        results['img_shape'] = results['ori_shape'] = img.shape[:2]
        if 'seg_map_path' in results:
            results['orientation'] = self._orientation(content)
            if isinstance(img, np.ndarray):  # or else a crop decodes it
                results['img'] = side_by_side(results['img'])
        return results

    def windows(self, path: str) -> TiffWindows:
        """A TIFF as it would be loaded, of which windows are read; its values stay in the file.

        Raises:
            DataError: If no windows can be read from it, or they would be others than of the whole image.
        """
        return image_windows(path, self.color_type, self.imdecode_backend, self.to_float32, self.channels)

    def _windows_or_none(self, path: str) -> TiffWindows | None:
        """The same; of a TIFF that has none and may well be decoded as a whole, None."""
        try:
            return self.windows(path)
        except DataError:
            if is_large(path):
                raise
            return None

    @property
    def decoder(self) -> str:
        """What decodes JPEGs, for a person."""
        if self.imdecode_backend != 'pillow':
            return f'{self.imdecode_backend} (imdecode_backend)'
        if self.color_type != 'color':
            return 'Pillow'
        if self.whole:
            return whole_decoder()
        part = codec()
        return f'nvImageCodec {part.__version__}, each crop alone' if part else (
            f'{whole_decoder()}; crops alone take less time, pip install nvidia-nvimgcodec-cu13')

    def _tried(self, function: Callable, given: str | bytes, where: str):
        """What a function gives for a path or a file's content; with ``ignore_empty``, None where it fails."""
        try:
            return function(given)
        except DataError:  # says itself what is wrong
            raise
        except Exception as error:  # decoders raise nearly everything on broken files
            if self.ignore_empty:
                return None
            reason = f'{type(error).__name__}: {" ".join(str(error).split())}'  # OpenCV's has several lines
            if isinstance(error, UnidentifiedImageError):  # Pillow's names a place in memory
                reason = f'{len(given)} bytes of no format that Pillow knows'
            remedy = 'mend the file or take it out of the dataset'
            if isinstance(error, Image.DecompressionBombError):
                remedy = 'cut it into pieces, or save it as a tiled TIFF, of which windows are read (docs/dense_prediction.md)'
            raise DataError(f'it cannot be read as an image ({reason})', where, remedy) from error

    def _rgb(self, content: bytes, where: str) -> np.ndarray | None:
        pixels = self._tried(partial(self._decode, where=where), content, where)
        return None if pixels is None else pixels[..., ::-1]

    def _read(self, path: str) -> bytes:
        if self.file_client_args is not None:  # deprecated in mmcv, and still there
            return fileio.FileClient.infer_client(self.file_client_args, path).get(path)
        if self.backend_args is None and ':' not in str(path):  # a file, not s3:// or the like: mmengine asks for 0.1 ms
            with open(path, 'rb') as file:
                return file.read()
        return fileio.get(path, backend_args=self.backend_args)

    @property
    def turns(self) -> bool:
        """Whether images are turned as their orientation says."""
        return self.imdecode_backend in ('pillow', 'cv2') and self.color_type in ('color', 'grayscale')

    def _orientation(self, content: bytes) -> int:
        if self.channels is not None:
            return layout_of(io.BytesIO(content), '').orientation
        try:
            with warnings.catch_warnings(), Image.open(io.BytesIO(content)) as image:
                warnings.simplefilter('ignore')  # of damaged EXIF
                by_pillow = self.imdecode_backend == 'pillow'  # which turns a TIFF whatever it is asked for
                turns = self.turns or (by_pillow and image.format == 'TIFF')
                return orientation_in(image, by_xmp=by_pillow) if turns else 1
        except (OSError, Image.DecompressionBombError):  # OpenCV reads more than Pillow
            return 1

    def _decode(self, content: bytes, where: str) -> np.ndarray:
        if self.channels is not None:
            bands = decode_bands(content, where)
            if bands.shape[2] != self.channels:
                raise DataError(f'it has {bands.shape[2]} channels, not {self.channels}', where,
                                'take it out, or set channels of LoadImage and in_channels of the backbone')
            return bands
        if self.imdecode_backend == 'pillow' and self.color_type in BY_PILLOW:
            img = decode(content) if self.color_type == 'color' else None
            return decode_by_pillow(content, self.color_type, where) if img is None else img
        if self.imdecode_backend == 'cv2' and self.color_type != 'unchanged':
            check_depth(content, where)
        img = mmcv.imfrombytes(content, flag=self.color_type, backend=self.imdecode_backend)
        if img is None:  # OpenCV's way to refuse
            raise ValueError('not an image')
        return img


def side_by_side(img: np.ndarray) -> np.ndarray:
    """The same image, where uint8 BGR [H, W, 3] with its pixels one after the other in memory.

    Segmentation resizes whole images by OpenCV, which copies any other view of an image slowly: three times as long as it
    resizes it.
    """
    if img.dtype != np.uint8 or img.ndim != 3 or img.shape[2] != 3 or img.flags.c_contiguous:
        return img
    rgb = img[..., ::-1]
    return cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR) if rgb.flags.c_contiguous else cv2.merge(
        [np.ascontiguousarray(channel) for channel in img.transpose(2, 0, 1)])


def with_own_loader(config):
    """The config of a loader or dataset, with :class:`LoadImage` where it names mmcv's ``LoadImageFromFile``.

    The pixels stay those of its backend, OpenCV unless it names another; what is wrong with a file is said in one line.
    """
    if isinstance(config, (list, tuple)):
        return type(config)(with_own_loader(part) for part in config)
    if not isinstance(config, dict):  # built already
        return config
    config = config.copy()
    for key in ('dataset', 'datasets', 'pipeline', 'transforms'):
        if key in config:
            config[key] = with_own_loader(config[key])
    if name_of(config) == 'LoadImageFromFile':
        config['type'] = 'nepa_mm.LoadImage'
        config.setdefault('imdecode_backend', 'cv2')
    return config


def decode(content: bytes) -> np.ndarray | None:
    """Pixels of a JPEG, uint8 BGR [H, W, 3]; None for what Pillow has to decode.

    That is: other formats, CMYK, photographs to be turned, and what torchvision refuses, so that errors are Pillow's too; and all
    without a decoder of torchvision's or torchcodec, its successor, which takes longer. Both would read EXIF in the first place
    for it alone, and its numbers in one type alone.
    """
    place, _ = read_header(content)
    if not place or orientation_of(content, place) != 1:
        return None
    try:
        try:
            # A copy, because torch warns of bytes, which it could not write to. Channels as they are (0): CMYK shows by its four.
            # The operator itself: torchvision.io.decode_jpeg, which calls it, warns at every image since 0.29.
            pixels = torch.ops.image.decode_jpeg(torch.frombuffer(bytearray(content), dtype=torch.uint8), 0)
        except AttributeError:  # a torchvision without it
            by_torchcodec = torchcodec_decoder()
            if by_torchcodec is None or any(name in content[:place] for name in ORIENTATIONS):  # which it may read otherwise
                return None
            pixels = by_torchcodec(content, mode='UNCHANGED')
    except RuntimeError:  # broken, or of a kind that it does not know
        return None
    if len(pixels) not in (1, 3):
        return None
    if len(pixels) == 1:
        pixels = pixels.repeat(3, 1, 1)  # three planes, which transforms may write to one by one
    return pixels.permute(1, 2, 0).numpy()[..., ::-1]  # a view, as mmcv makes one of Pillow's


@cache
def torchcodec_decoder() -> Callable | None:
    """torchcodec's decoder of JPEGs, if it is installed and fits this torch."""
    try:
        from torchcodec.decoders import decode_jpeg
    except (ImportError, OSError, RuntimeError):  # it is built for one torch, and says any of them to another
        return None
    return decode_jpeg


def whole_decoder() -> str:
    """What :func:`decode` decodes by, for a person."""
    if hasattr(torch.ops.image, 'decode_jpeg'):
        return f'torchvision {torchvision.__version__}'
    return 'torchcodec' if torchcodec_decoder() else 'Pillow'


def decode_by_pillow(content: bytes, color_type: str, where: str) -> np.ndarray:
    """Pixels by Pillow, uint8: BGR [H, W, 3], or [H, W] for 'grayscale'; mmcv would paint grey with transparency on a colour."""
    with Image.open(io.BytesIO(content)) as image:
        refuse_deep(image.mode, where)
        if not color_type.endswith('ignore_orientation'):
            image = ImageOps.exif_transpose(image)
        image = image.convert('RGB')
    return np.array(image.convert('L')) if color_type.startswith('grayscale') else np.array(image)[..., ::-1]


def check_depth(content: bytes, where: str) -> None:
    """Refuse an image of more than 8 bits that another decoder reads, if Pillow knows its format; JPEG has none."""
    if content.startswith(JPEG):
        return
    try:
        with Image.open(io.BytesIO(content)) as image:
            mode = image.mode
    except (OSError, Image.DecompressionBombError):
        return
    refuse_deep(mode, where)


def refuse_deep(mode: str, where: str) -> None:
    """Refuse a mode of Pillow whose values 8 bits do not hold: it clips them, OpenCV leaves the upper 8 of 16.

    Raises:
        DataError: For 16 and 32 bits, as I;16, I and F; Pillow itself reads 16 bits of each of three colours as 8.
    """
    if mode.startswith(('I', 'F')):
        raise DataError(f"more than 8 bits a pixel (Pillow's mode {mode}): values above 255 would become white", where,
                        'scale it to 8 bits first')
