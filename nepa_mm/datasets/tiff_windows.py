"""A TIFF file of which windows are read: what is outside them is not decoded, and the image is never whole in memory."""
import copy
import os
from collections import OrderedDict
from collections.abc import Callable, Iterator
from math import ceil, prod
from pathlib import Path

import numpy as np
import tifffile

from nepa_mm.errors import DataError

SUFFIXES = ('.tif', '.tiff')
LARGE = 2**24  # pixels, 4096 x 4096: of so many, commands and configs of ours read windows
LARGEST_PIECE = 2**26  # bytes of a tile or a strip that is decoded for a few of its pixels
KEPT = 2**25  # bytes of decoded tiles and strips, for windows that overlap
REMEDY = 'save it in tiles, as by gdal_translate -co TILED=YES -co COMPRESS=DEFLATE IN.tif OUT.tif'
Convert = Callable[[np.ndarray], np.ndarray]


class TiffWindows:
    """The first image of a TIFF file, in tiles or strips, of any bands and depth; ``[top:bottom, left:right]`` reads a window.

    ``shape`` is (H, W), or (H, W, C) of several bands, ``dtype`` that of the values. The file stays open as long as
    this is used, by any number of processes that are forked.

    Args:
        path: Of the file.
        key: That led there, for errors.

    Raises:
        DataError: If it is no TIFF, or one of whose pixels a few cannot be decoded alone: its compression is not known here, or
            its strips are compressed and larger than 64 MiB. A window raises it where the file is damaged.
    """

    def __init__(self, path: str | Path, key: str = 'img_path') -> None:
        self.path, self.key, self.converts = str(path), key, []
        self.kept, self.kept_bytes = OrderedDict(), 0  # decoded pieces, by their numbers, the newest last
        try:
            self.file = open(path, 'rb')
            with tifffile.TiffFile(path) as tiff:
                page = self.page = tiff.pages.first
                self.decode = page.decode  # which reads more of a JPEG's file
                self.offsets, self.sizes, self.tables = page.dataoffsets, page.databytecounts, page.jpegtables
                self.orientation = int(page.tags.valueof(274, 1))
                self.in_file = page.dtype and page.dtype.newbyteorder(tiff.byteorder)
        except (OSError, tifffile.TiffFileError, ValueError, IndexError, KeyError) as error:
            raise self.unfit(f'it cannot be read as a TIFF ({type(error).__name__}: {" ".join(str(error).split())})',
                             'mend the file, or leave it out') from error
        if page.dtype is None or len(page.shaped) != 5 or page.shaped[1] != 1 or not prod(page.shaped):
            raise self.unfit(f'{page.shape} numbers of {page.bitspersample} bits, of which no windows can be read', REMEDY)
        self.dtype = self.stored = page.dtype  # of windows as they are given, and as they are in the file
        self.planes, _, height, width, self.samples = page.shaped  # planes where bands lie apart in the file
        self.bands = self.planes * self.samples
        self.shape = (height, width) if self.bands == 1 else (height, width, self.bands)
        self.piece = (page.tilelength, page.tilewidth) if page.is_tiled else (min(page.rowsperstrip, height), width)
        self.is_raw = (page.compression, page.predictor, page.fillorder, page.is_tiled, page.bitspersample) == (
            1, 1, 1, False, 8 * self.stored.itemsize)
        self.require_cheap()

    def require_cheap(self) -> None:
        """Refuse a file of which a window costs the whole, or whose compression is not known."""
        page, size = self.page, prod(self.piece) * self.samples * self.stored.itemsize
        if page.compression != 1 and page.compression not in tifffile.TIFF.DECOMPRESSORS:
            raise self.unfit(f'compression {page.compression.name} needs imagecodecs', 'pip install imagecodecs, or save it with '
                             'COMPRESS=DEFLATE')
        if not self.is_raw and size > LARGEST_PIECE:
            raise self.unfit(f'pieces of {self.piece[1]}x{self.piece[0]} pixels, compressed: a window would decode {size >> 20} '
                             'MiB', REMEDY)

    def unfit(self, what: str, remedy: str) -> DataError:
        return DataError(what, f'{self.key}={self.path!r}', remedy)

    @property
    def ndim(self) -> int:
        return len(self.shape)

    @property
    def palette(self) -> np.ndarray | None:
        """RGB of each value, uint8 [N, 3], if the file has a palette."""
        return (self.page.colormap >> 8).astype(np.uint8).T if self.page.photometric == 3 else None

    def mapped(self, convert: Convert, channels: int | None = None, dtype: np.dtype = np.uint8) -> 'TiffWindows':
        """The same, each window of which goes through a function.

        Args:
            convert: From a window [h, w] or [h, w, C] to one of its size.
            channels: That it then has; None for [h, w].
            dtype: Of the values that it then has.
        """
        found = copy.copy(self)
        found.converts, found.dtype = [*self.converts, convert], np.dtype(dtype)
        found.shape = self.shape[:2] if channels is None else (*self.shape[:2], channels)
        return found

    def __getitem__(self, place: slice | tuple) -> np.ndarray:
        """A window [h, w] or [h, w, C]; steps, and what follows rows and columns, are applied to what was read."""
        rows, columns, *rest = (*(place if isinstance(place, tuple) else (place, )), slice(None))[:4]
        (top, bottom, down), (left, right, across) = rows.indices(self.shape[0]), columns.indices(self.shape[1])
        window = self.read(top, bottom, left, right)
        for convert in self.converts:
            window = convert(window)
        rest = [part for part in rest[:window.ndim - 2] if part is not Ellipsis]
        return window[(slice(None, None, down), slice(None, None, across), *rest)]

    def rows(self, most: int = LARGEST_PIECE) -> Iterator[np.ndarray]:
        """The whole image in windows as wide as it is, from the top, of so many bytes at most where pieces are no higher."""
        height, width = self.shape[:2]
        piece = 1 if self.is_raw else self.piece[0]  # of which rows are read alone, of a single strip too
        step = max(most // (width * self.bands * self.stored.itemsize) // piece, 1) * piece
        for top in range(0, height, step):
            yield self[top:top + step]

    def read(self, top: int, bottom: int, left: int, right: int) -> np.ndarray:
        """Values in the file within these rows and columns, [h, w] or [h, w, C]."""
        window = np.empty((max(bottom - top, 0), max(right - left, 0), self.bands), self.stored)
        for plane in range(self.planes if window.size else 0):
            part = window[..., plane * self.samples:(plane + 1) * self.samples]
            if self.is_raw:
                for y in range(top, bottom):
                    part[y - top] = self.raw_row(plane, y, left, right)
                continue
            height, width = self.piece
            for y in range(top // height * height, bottom, height):
                for x in range(left // width * width, right, width):
                    rows, columns = slice(max(top, y), min(bottom, y + height)), slice(max(left, x), min(right, x + width))
                    piece = self.decoded(plane, y, x)
                    part[rows.start - top:rows.stop - top, columns.start - left:columns.stop - left] = piece[
                        rows.start - y:rows.stop - y, columns.start - x:columns.stop - x]
        return window[..., 0] if self.bands == 1 else window

    def raw_row(self, plane: int, y: int, left: int, right: int) -> np.ndarray:
        """Values [w, C] of a row of a file whose strips are not compressed; no others are read."""
        number = self.number(plane, y, 0)
        if not self.sizes[number]:
            return np.full((right - left, self.samples), self.page.nodata, self.stored)
        begin = (y % self.piece[0] * self.shape[1] + left) * self.samples * self.stored.itemsize
        size = (right - left) * self.samples * self.stored.itemsize
        content = os.pread(self.file.fileno(), size, self.offsets[number] + begin)
        if len(content) < size:
            raise self.damaged(y, left, 'the file ends before it')
        return np.frombuffer(content, self.in_file).reshape(-1, self.samples)

    def number(self, plane: int, y: int, x: int) -> int:
        """Of the tile or strip that a pixel lies in."""
        (height, width), (down, across) = self.piece, self.shape[:2]
        columns = ceil(across / width)
        return (plane * ceil(down / height) + y // height) * columns + x // width

    def decoded(self, plane: int, y: int, x: int) -> np.ndarray:
        """Values [h, w, C] of the tile or strip that a pixel lies in; the last ones are kept."""
        number = self.number(plane, y, x)
        piece = self.kept.pop(number, None)
        if piece is None:
            try:
                size = self.sizes[number]
                content = os.pread(self.file.fileno(), size, self.offsets[number]) if size else None  # left out: no data
                piece = self.decode(content, number, jpegtables=self.tables)[0]
            except Exception as error:  # of any kind, by the codec
                raise self.damaged(y, x, f'{type(error).__name__}: {" ".join(str(error).split())}') from error
            piece = np.full((*self.piece, self.samples), self.page.nodata, self.stored) if piece is None else piece[0]
            self.kept_bytes += piece.nbytes
        self.kept[number] = piece
        while self.kept_bytes > KEPT and len(self.kept) > 1:
            self.kept_bytes -= self.kept.popitem(last=False)[1].nbytes
        return piece

    def damaged(self, y: int, x: int, reason: str) -> DataError:
        return self.unfit(f'its pixels at row {y}, column {x} cannot be decoded ({reason})', 'mend the file, or leave it out')


def is_tiff(path: str | Path) -> bool:
    """Whether a name is that of a local TIFF file."""
    return str(path).lower().endswith(SUFFIXES) and '://' not in str(path)


def size_in(path: str | Path) -> tuple[int, int]:
    """Height and width of the first image of a TIFF file; (0, 0) of what is none."""
    if not is_tiff(path):
        return 0, 0
    try:
        with tifffile.TiffFile(path) as tiff:
            return tiff.pages.first.imagelength, tiff.pages.first.imagewidth
    except Exception:  # who reads it says what is wrong
        return 0, 0


def is_large(path: str | Path) -> bool:
    """Whether a file is a TIFF of so many pixels that windows of it are read."""
    return prod(size_in(path)) > LARGE


def thumbnail(pixels: TiffWindows, step: int) -> np.ndarray:
    """Every so many pixels of an image, [h, w] or [h, w, C]."""
    return np.concatenate([pixels[y:y + 1, ::step] for y in range(0, pixels.shape[0], step)])
