"""Image files of a data set, each read once: size, channels, depth, content, and whether a training could load it."""
import io
import multiprocessing
import os
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path
from statistics import median

import cv2
import numpy as np
from PIL import Image
from rich.console import Console
from rich.progress import track

from nepa_mm.datasets import LoadImage
from nepa_mm.errors import DataError, ProcessError
from nepa_mm.find_images import IMAGE_SUFFIXES, files_under, say_left_out, shown

LOOKED_AT = 20_000  # images that are decoded unless told; all of most data sets, in a minute or two
MEASURED = 500  # of them whose pixels make mean and standard deviation
DEEP = ('I', 'F')  # beginnings of Pillow's modes of more than 8 bits


@dataclass(frozen=True)
class Picture:
    """What one file holds."""
    path: Path
    size: tuple[int, int] = (0, 0)  # width and height as shown
    channels: int = 0
    mode: str = ''  # Pillow's name of channels and depth
    digest: bytes = b''
    sums: tuple[np.ndarray, np.ndarray, int] | None = None  # of values and squares of each channel in RGB order, and their count
    error: str | None = None  # why no training can load it


@dataclass
class Pictures:
    """What the files of a data set hold together."""
    total: int  # files of the data set, of which some were looked at
    looked_at: list[Picture] = field(default_factory=list)

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

    def copies(self) -> list[list[Path]]:
        """Groups of files with the same bytes."""
        groups = defaultdict(list)
        for picture in self.sound:
            groups[picture.digest].append(picture.path)
        return [sorted(group) for group in groups.values() if len(group) > 1]

    def statistics(self) -> tuple[list[float], list[float]]:
        """Mean and standard deviation of each channel, in RGB order, of the images measured."""
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
    found = files_under(str(folder), unreadable)
    files = sorted(Path(path) for path in found if not os.path.basename(path).startswith('.'))
    images = [path for path in files if path.suffix.lower() in IMAGE_SUFFIXES]
    if not images:
        raise DataError(f'it holds no image ({shown(IMAGE_SUFFIXES)})', str(folder), 'give the folder of your images')
    say_left_out(repr(str(folder)), [path.name for path in files], IMAGE_SUFFIXES)
    return images


def unreadable(error: OSError) -> None:
    raise DataError(f'it cannot be read ({error.strerror})', str(error.filename),
                    'look at its rights, or at the share that it is on') from error


def look_at(paths: Sequence[Path], most: int = LOOKED_AT, workers: int | None = None, seed: int = 0) -> Pictures:
    """Read so many files as a training would, drawn by a seed where they are more.

    Raises:
        ProcessError: If a process died, of a decoder or without memory.
    """
    order = np.random.default_rng(seed).permutation(len(paths))[:most]
    chosen = [(paths[index], number < MEASURED) for number, index in enumerate(order)]
    return Pictures(len(paths), list(by_several(picture_of, chosen, workers, f'{len(chosen)} of {len(paths)} images')))


def by_several(function: Callable, items: Sequence, workers: int | None, said: str) -> Iterator:
    """``function`` of each of the items, in order, computed by several processes, with a bar on a terminal."""
    workers = min(workers or os.cpu_count() or 1, max(len(items) // 32, 1))
    console = Console(stderr=True)
    if workers == 1:
        yield from track(map(function, items), said, len(items), console=console, transient=True)
        return
    try:
        with ProcessPoolExecutor(workers, multiprocessing.get_context('fork'), initializer=cv2.setNumThreads,
                                 initargs=(0, )) as pool:
            yield from track(pool.map(function, items, chunksize=16), said, len(items), console=console, transient=True)
    except BrokenProcessPool as error:
        raise ProcessError('a process died while it read a file', said, 'look at the memory, or try fewer --workers') from error


def picture_of(chosen: tuple[Path, bool]) -> Picture:
    """What a file holds; with sums of its pixels, if these are asked for."""
    path, measured = chosen
    try:
        content = path.read_bytes()
        with Image.open(io.BytesIO(content)) as image:
            channels, mode = len(image.getbands()), image.mode
    except Exception:  # Pillow raises nearly everything; the loader below says it in a line
        channels, mode = 0, ''
    try:
        pixels = LoadImage()(dict(img_path=str(path)))['img']  # [H, W, 3], BGR
    except DataError as error:
        return Picture(path, mode=mode, channels=channels, error=error.what)
    sums = None
    if measured:
        flat = pixels[..., ::-1].reshape(-1, 3).astype(np.float64)
        sums = flat.sum(0), (flat**2).sum(0), len(flat)
    return Picture(path, pixels.shape[1::-1], channels, mode, blake2b(content, digest_size=16).digest(), sums)


def require_sound(pictures: Pictures, leave_out: bool) -> set[Path]:
    """Files that are broken, and to be left out.

    Raises:
        DataError: If there are some and they are not to be left out; if nothing else is left.
    """
    broken = pictures.broken
    deep = [picture for picture in broken if picture.mode.startswith(DEEP)]
    if broken and not pictures.sound:
        raise DataError(f'none of {len(broken)} files can be loaded: {broken[0].error}', str(broken[0].path),
                        'save them with 8 bits a channel' if deep else 'look at the file')
    if broken and not leave_out:
        raise DataError(f'{len(broken)} of {len(pictures.looked_at)} files cannot be loaded: {broken[0].error}',
                        str(broken[0].path), 'mend them, or add --leave-out-broken')
    return {picture.path for picture in broken}
