"""Pillow's resizing and affine transformation in a part of its time, bit for bit, by C that is compiled at first use."""
import ctypes
import hashlib
import logging
import os
import platform
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from functools import cache, partial
from math import ceil, floor
from pathlib import Path

import numpy as np
from mmengine.logging import print_log
from PIL import Image

SOURCE = Path(__file__).with_suffix('.c')
# Without fused multiplications and additions, which Pillow's wheels do not have either
FLAGS = ('-O3', '-march=native', '-ffp-contract=off', '-fPIC', '-shared')
PILLOW = int(Image.__version__.partition('.')[0])
BICUBIC, BILINEAR = Image.Resampling.BICUBIC, Image.Resampling.BILINEAR
SIZES = (((90, 70), (40, 30)), ((40, 300), (33, 60)), ((30, 20), (64, 96)), ((33, 50), (33, 20)), ((50, 33), (20, 33)),
         ((3, 400), (20, 60)))
MATRICES = ((1, 0.23, 0, 0, 1, 0), (1, 0, 0, -0.3, 1, 0), (1, 0, 13.7, 0, 1, 0), (1, 0, 0, 0, 1, -9.4),
            (0.94, 0.34, -7.1, -0.34, 0.94, 5.3))


@cache
def library() -> ctypes.CDLL | None:
    """The compiled kernels; None, and one line that says why, where they cannot be compiled or are not Pillow's to the bit."""
    compiler = shutil.which(os.environ.get('CC', 'cc')) or shutil.which('gcc')
    if compiler is None:
        return refused('there is no C compiler')
    try:
        kernels = ctypes.CDLL(str(compiled(compiler)))
    except (OSError, subprocess.SubprocessError) as error:
        return refused(f'{compiler} failed ({(getattr(error, "stderr", "") or str(error)).strip().splitlines()[0]})')
    return kernels if equal_to_pillow(kernels) else refused(f'they are not those of Pillow {Image.__version__} on this machine')


def refused(why: str) -> None:
    """Say that Pillow does the work."""
    print_log(f'{SOURCE.name}: {why}, and so Pillow resizes and turns images, to the same pixels in more time', 'current',
              logging.WARNING)


def compiled(compiler: str) -> Path:
    """The library for this machine, compiled if nobody has before: in ~/.cache/nepa_mm, or XDG_CACHE_HOME.

    Raises:
        OSError, subprocess.SubprocessError: If that cannot be done.
    """
    about = Path('/proc/cpuinfo')
    lines = about.read_text().splitlines() if about.exists() else []
    cpu = next((line for line in lines if line.startswith(('flags', 'Features'))), '')  # a folder may serve several machines
    key = hashlib.sha256('\n'.join((SOURCE.read_text(), *FLAGS, compiler, platform.platform(), cpu)).encode()).hexdigest()[:16]
    folder = Path(os.environ.get('XDG_CACHE_HOME') or Path.home() / '.cache') / 'nepa_mm'
    path = folder / f'pillow_kernels_{key}.so'
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder) as own:  # as several processes may be at it
            part = Path(own, path.name)
            subprocess.run([compiler, *FLAGS, '-o', part, SOURCE, '-lm'], check=True, capture_output=True, text=True, timeout=60)
            part.replace(path)
    return path


def equal_to_pillow(kernels: ctypes.CDLL) -> bool:
    """Whether the pixels are Pillow's, of noise, in each case that the kernels tell apart."""
    noise = np.random.default_rng(0).integers(0, 256, (400, 400, 3), dtype=np.uint8)
    for (width, height), size in SIZES:
        pixels = noise[:height, :width]
        image = Image.fromarray(pixels.copy())
        if not np.array_equal(resized(kernels, pixels, size), image.resize(size, BICUBIC)):
            return False
        for flip in (False, True):
            if not np.array_equal(planes(kernels, pixels, size, flip).transpose(1, 2, 0)[:, ::-1 if flip else 1, ::-1],
                                  image.resize(size, BILINEAR)):
                return False
    image = Image.fromarray(noise[:64, :96].copy())
    return all(np.array_equal(transformed(kernels, image, matrix, (1, 2, 3)),
                              image.transform(image.size, Image.Transform.AFFINE, matrix, BICUBIC, fillcolor=(1, 2, 3)))
               for matrix in MATRICES)


def resized(kernels: ctypes.CDLL, pixels: np.ndarray, size: tuple[int, int], box: tuple[int, int, int, int] | None = None,
            whole: tuple[int, int, int, int] | None = None) -> np.ndarray:
    """Pixels [h, w, 3], uint8, as Pillow's bicubic ``resize`` to ``size`` (width, height) makes them.

    Args:
        kernels: See :func:`library`.
        pixels: The image, or the part of it that the result needs.
        size: Of the whole result.
        box: Left, top, width and height of the part of the result that is wanted.
        whole: Left and top of ``pixels`` in the whole image, and its width and height.
    """
    left, top, width, height = whole or (0, 0, pixels.shape[1], pixels.shape[0])
    x, y, columns, rows = box or (0, 0, *size)
    if size == (width, height):
        return pixels[y - top:y - top + rows, x - left:x - left + columns]
    result = np.empty((rows, columns, 3), np.uint8)
    resize_into(result, kernels, pixels, (left, top, width, height), size, (x, y, columns, rows))
    return result


def planes(kernels: ctypes.CDLL, pixels: np.ndarray, size: tuple[int, int], flip: bool) -> np.ndarray:
    """Pixels [h, w, 3], uint8 RGB, as Pillow's bilinear ``resize`` to ``size`` (width, height) makes them, in planes.

    These are BGR [3, height, width], mirrored with ``flip``.
    """
    result = np.empty((3, *size[::-1]), np.uint8)
    resize_into(result, kernels, pixels, (0, 0, pixels.shape[1], pixels.shape[0]), size, (0, 0, *size), 1, int(flip), 1)
    return result


def resize_into(result: np.ndarray, kernels: ctypes.CDLL, pixels: np.ndarray, whole: tuple[int, int, int, int],
                size: tuple[int, int], box: tuple[int, int, int, int], *how: int) -> None:
    """Call the kernel; ``how`` are its ``linear``, ``flip`` and ``planes``, none by default.

    Raises:
        MemoryError: If there is none for it.
    """
    if pixels.strides[1:] != (3, 1):
        pixels = np.ascontiguousarray(pixels)
    width, height = whole[2:]
    down_first = int(begins_with_height(width, height, size))
    left, top = whole[:2]
    done = kernels.nepa_resize(
        pixels.ctypes, ctypes.c_long(pixels.strides[0]), left, top, pixels.shape[1], pixels.shape[0], width, height, *size,
        *box, down_first, *(how or (0, 0, 0)), result.ctypes)
    if not done:
        raise MemoryError(f'to resize {pixels.shape} of an image of {width}x{height} pixels')


def begins_with_height(width: int, height: int, size: tuple[int, int]) -> bool:
    """Whether Pillow does: before its version 13 with very tall images alone, since then where the height shrinks much more."""
    shrinks = height - size[1]
    return shrinks > 0 and (height > 100 * width if PILLOW < 13 else shrinks > 2 * (width - size[0]))


def needed(inputs: int, outputs: int, first: int, count: int) -> tuple[int, int]:
    """Begin and length of the inputs of which ``count`` outputs from ``first`` on are made, along one side."""
    scale = inputs / outputs
    support = 2 * max(scale, 1.)
    begin = max(0, floor((first + 0.5) * scale - support) - 1)
    return begin, min(inputs, ceil((first + count - 0.5) * scale + support) + 1) - begin


def transformed(kernels: ctypes.CDLL, image: Image.Image, matrix: tuple, fillcolor: tuple[int, int, int]) -> Image.Image:
    """An image in RGB as Pillow's bicubic affine ``transform`` to its own size makes it."""
    width, height = image.size
    content = image.tobytes() + b'\0'  # of which the kernel reads a byte more
    result = np.empty((height, width, 3), np.uint8)
    result[:] = fillcolor
    kernels.nepa_affine(content, width, height, (ctypes.c_double * 6)(*matrix), result.ctypes)
    return Image.fromarray(result)


class AffineImage:
    """An image for timm's and Pillow's functions that end in an affine ``transform``, which is the kernel's."""

    def __init__(self, image: Image.Image) -> None:
        self.image, self.size = image, image.size

    rotate = Image.Image.rotate

    def transform(self, size: tuple[int, int], method: int, data: tuple, resample: int, fillcolor=None) -> Image.Image:
        """Pillow's, by Pillow itself where the kernel does not know what is asked for."""
        asked = size, method, resample, self.image.mode, isinstance(fillcolor, tuple)
        if asked == (self.size, Image.Transform.AFFINE, BICUBIC, 'RGB', True):
            return transformed(library(), self.image, data, fillcolor)
        return self.image.transform(size, method, data, resample, fillcolor=fillcolor)

    def __getattr__(self, name: str):  # what rotate asks for at right angles
        return getattr(self.image, name)


def by_kernel(augment: Callable) -> Callable:
    """One of timm's affine operations, to the same pixels."""
    return partial(augmented, augment)


def augmented(augment: Callable, image: Image.Image, *args, **kwargs) -> Image.Image:
    """Of an operation, on an image."""
    return augment(AffineImage(image), *args, **kwargs)
