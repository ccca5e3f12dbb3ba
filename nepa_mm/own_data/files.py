"""Image files of a data set, each read once: size, channels, values, content, and whether a training could load it."""
import multiprocessing
import os
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field, replace
from functools import partial
from hashlib import blake2b
from pathlib import Path
from statistics import median

import cv2
import numpy as np
from rich.console import Console
from rich.progress import track

from nepa_mm.datasets import LoadImage
from nepa_mm.datasets.tiff_windows import TiffWindows, is_large
from nepa_mm.datasets.transforms.bands import Layout, layout_of
from nepa_mm.errors import DataError, ProcessError
from nepa_mm.find_images import images_under

LOOKED_AT = 20_000  # images that are decoded unless told; all of most data sets, in a minute or two
PART = 2**22  # bytes, or values, that are looked at together
MEASURED = 500  # of them whose pixels make mean and standard deviation


@dataclass(frozen=True)
class Picture:
    """What one file holds."""
    path: Path
    size: tuple[int, int] = (0, 0)  # width and height as shown
    layout: Layout | None = None  # None if nothing reads so much of it
    digest: bytes = b''
    sums: tuple[np.ndarray, np.ndarray, int] | None = None  # of values and squares of each channel, RGB or the file's, and count
    error: str | None = None  # why no training can load it


@dataclass
class Pictures:
    """What the files of a data set hold together."""
    total: int  # files of the data set, of which some were looked at
    looked_at: list[Picture] = field(default_factory=list)
    bands: int | None = None  # channels of images that are not RGB, and stay as they are in the files

    @property
    def sound(self) -> list[Picture]:
        """Those that can be loaded."""
        return [picture for picture in self.looked_at if picture.error is None]

    @property
    def broken(self) -> list[Picture]:
        """Those that cannot."""
        return [picture for picture in self.looked_at if picture.error is not None]

    @property
    def size(self) -> tuple[int, int]:
        """Median width and height."""
        return tuple(int(median(picture.size[axis] for picture in self.sound)) for axis in (0, 1))

    @property
    def short_side(self) -> int:
        """Median of the shorter sides, in pixels."""
        return int(median(min(picture.size) for picture in self.sound))

    @property
    def transparent(self) -> int:
        """How many RGB images have a channel of transparency, which may be a band as well."""
        return sum(picture.layout.mode.endswith('A') for picture in self.sound if picture.layout) if self.bands is None else 0

    def copies(self) -> list[list[Path]]:
        """Groups of files with the same bytes."""
        groups = defaultdict(list)
        for picture in self.sound:
            groups[picture.digest].append(picture.path)
        return [sorted(group) for group in groups.values() if len(group) > 1]

    def statistics(self) -> tuple[list[float], list[float]]:
        """Mean and standard deviation of each channel, of RGB or of the file, of the images measured."""
        total, squares, count = (sum(parts) for parts in zip(*(picture.sums for picture in self.sound if picture.sums)))
        mean = total / count
        return mean.tolist(), np.sqrt(np.maximum(squares / count - mean**2, 0)).tolist()


def image_files(folder: Path) -> list[Path]:
    """All images of a folder and those inside it, by the one rule of suffixes, in the order of their names.

    Raises:
        DataError: If it cannot be read, or holds none.
    """
    if not folder.is_dir():
        raise DataError('there is no such folder', str(folder), 'give the folder of your data')
    return images_under(folder, unreadable)


def unreadable(error: OSError) -> None:
    raise DataError(f'it cannot be read ({error.strerror})', str(error.filename),
                    'look at its rights, or at the share that it is on') from error


def look_at(paths: Sequence[Path], most: int = LOOKED_AT, workers: int | None = None, seed: int = 0,
            channels: int | None = None) -> Pictures:
    """Read so many files as a training would, drawn by a seed where they are more.

    Photographs are RGB. Where files hold something else, all have to hold it, or those that do not are broken.

    Args:
        channels: As the files are to be read, if not told by them: 3 for RGB, or any number as they hold them.

    Raises:
        ProcessError: If a process died, of a decoder or without memory.
    """
    order = np.random.default_rng(seed).permutation(len(paths))[:most]
    chosen = [(paths[index], number < MEASURED, channels) for number, index in enumerate(order)]
    found = list(by_several(picture_of, chosen, workers, f'{len(chosen)} of {len(paths)} images'))
    kinds = Counter(bands_of(picture.layout, channels) for picture in found if picture.error is None)
    if len(kinds) < 2:
        return Pictures(len(paths), found, *(kind and kind[0] for kind in kinds))
    (usual, count), *_ = kinds.most_common()
    said = f'and {count} others {said_of(usual)}: a training takes images of one kind'
    found = [picture if picture.error or bands_of(picture.layout, channels) == usual else
             replace(picture, error=f'it has {said_of(bands_of(picture.layout, channels))}, {said}') for picture in found]
    return Pictures(len(paths), found, usual and usual[0])


def bands_of(layout: Layout | None, channels: int | None) -> tuple[int, str] | None:
    """Channels and type of the values of an image that is not RGB.

    Args:
        channels: That were asked for; 3 leaves photographs RGB.
    """
    return None if layout is None or layout.is_photo and channels in (None, 3) else (layout.channels, layout.dtype)


def said_of(kind: tuple[int, str] | None) -> str:
    return 'RGB' if kind is None else f'{kind[0]} x {kind[1]}'


def by_several(function: Callable, items: Sequence, workers: int | None, said: str) -> Iterator:
    """``function`` of each of the items, in order, computed by several processes, with a bar on a terminal."""
    workers = min(workers or os.cpu_count() or 1, max(len(items) // 32, 1))
    console = Console(stderr=True)
    shown = partial(track, description=said, total=len(items), console=console, transient=True, disable=not console.is_terminal)
    if workers == 1:
        yield from shown(map(function, items))
        return
    try:
        with ProcessPoolExecutor(workers, multiprocessing.get_context('fork'), initializer=cv2.setNumThreads,
                                 initargs=(0, )) as pool:
            yield from shown(pool.map(function, items, chunksize=16))
    except BrokenProcessPool as error:
        raise ProcessError('a process died while it read a file', said, 'look at the memory, or try fewer --workers') from error


def picture_of(chosen: tuple[Path, bool, int | None]) -> Picture:
    """What a file holds; with sums of its pixels, if these are asked for; its channels as they are to be read, or as they are."""
    path, measured, channels = chosen
    layout, bands, digest = None, None, b''
    try:
        digest = digest_of(path)
        with open(path, 'rb') as file:
            layout = layout_of(file, str(path))
        bands = (channels or layout.channels) if bands_of(layout, channels) else None
    except DataError as error:
        return Picture(path, error=error.what)
    except Exception:  # decoders raise nearly everything; the loader below says it in a line
        pass
    load, is_in_file = LoadImage(channels=bands), is_large(path)
    try:
        pixels = load.windows(str(path)) if is_in_file else load(dict(img_path=str(path)))['img']  # [H, W, C], BGR if it is RGB
        sums = sums_of(pixels, bands is None) if measured or is_in_file else None  # all of a file is looked at
    except DataError as error:
        return Picture(path, layout=layout, error=error.what)
    return Picture(path, pixels.shape[1::-1], layout, digest, sums if measured else None)


def digest_of(path: Path) -> bytes:
    """A short stand-in for the content of a file."""
    digest = blake2b(digest_size=16)
    with open(path, 'rb') as file:
        while part := file.read(PART):
            digest.update(part)
    return digest.digest()


def sums_of(pixels: np.ndarray | TiffWindows, is_bgr: bool) -> tuple[np.ndarray, np.ndarray, int]:
    """Values and squares of each channel, RGB or the file's, summed up some rows at a time, and how many pixels they are."""
    height, width, channels = pixels.shape
    step = max(PART // (width * channels), 1)
    parts = pixels.rows(PART) if isinstance(pixels, TiffWindows) else (pixels[top:top + step] for top in range(0, height, step))
    total = squares = 0
    for part in parts:
        flat = (part[..., ::-1] if is_bgr else part).reshape(-1, channels).astype(np.float64)
        total, squares = total + flat.sum(0), squares + (flat**2).sum(0)
    return total, squares, height * width


def require_sound(pictures: Pictures, leave_out: bool) -> set[Path]:
    """Files that are broken, and to be left out.

    Raises:
        DataError: If there are some and they are not to be left out; if nothing else is left.
    """
    broken = pictures.broken
    if broken and not pictures.sound:
        raise DataError(f'none of {len(broken)} files can be loaded: {broken[0].error}', str(broken[0].path),
                        'look at the file')
    if broken and not leave_out:
        raise DataError(f'{len(broken)} of {len(pictures.looked_at)} files cannot be loaded: {broken[0].error}',
                        str(broken[0].path), 'mend them, or add --leave-out-broken')
    return {picture.path for picture in broken}
