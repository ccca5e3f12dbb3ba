"""The images that a person names: files, folders, lists of video frames; and which files of a folder are images."""
import os
import re
import sys
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator
from pathlib import Path
from typing import Any

from nepa_mm.errors import DataError

# What Pillow decodes by itself, for all commands and trainings; not what it only knows by name (.h5, .mpg) or hands on (.eps)
IMAGE_SUFFIXES = (
    '.jpg', '.jpeg', '.png', '.webp', '.tif', '.tiff', '.gif', '.bmp', '.avif', '.jp2', '.ppm', '.pgm', '.pbm', '.pnm', '.pfm',
    '.apng', '.avifs', '.bw', '.cur', '.dcx', '.dds', '.dib', '.fit', '.fits', '.fli', '.flc', '.icns', '.ico', '.im', '.j2c',
    '.j2k', '.jfif', '.jpc', '.jpe', '.jpf', '.jpx', '.msp', '.pcd', '.pcx', '.psd', '.pxr', '.qoi', '.ras', '.rgb', '.rgba',
    '.sgi', '.tga', '.xbm', '.xpm')


def find_images(inputs: Iterable[str | Path]) -> list[Path]:
    """Paths of all images that are named, in order: files as they are, folders with what is below them, text files line by line.

    Files of a folder come in the order of the numbers in their names, frame_2 before frame_10. A line of a ``.txt`` file is a
    path, as given or from the folder of the text file.

    Raises:
        DataError: If something is not there or names no image.
    """
    found = []
    for path in map(Path, inputs):
        if path.is_dir():
            found += images_under(path, key=by_numbers)
        elif not path.exists():
            raise DataError('there is no such file', str(path), 'give an image, a folder or a .txt file with a path on each line')
        elif path.suffix.lower() == '.txt':
            found += listed(path)
        else:
            found.append(path)
    return found


def by_numbers(file: Path) -> tuple[list[int | str], str]:
    """A key to sort by: frame_2 before frame_10."""
    name = str(file)
    return [int(part) if part.isdecimal() else part for part in re.split(r'(\d+)', name)], name


def images_under(folder: Path, onerror: Callable[[OSError], None] | None = None,
                 key: Callable[[Path], Any] | None = None) -> list[Path]:
    """All images of a folder and those inside it, in the order of their names; hidden files do not count, others are said.

    Args:
        folder: To look into.
        onerror: As of :func:`files_under`.
        key: To sort by, instead of the paths.

    Raises:
        DataError: If there are none.
    """
    found = (Path(path) for path in files_under(folder, onerror) if not os.path.basename(path).startswith('.'))
    files = sorted(found, key=key)
    images = [file for file in files if file.suffix.lower() in IMAGE_SUFFIXES]
    if not images:
        raise DataError('it holds no image', str(folder), f'give a folder of images ({shown(IMAGE_SUFFIXES)})')
    say_left_out(repr(str(folder)), [file.name for file in files], IMAGE_SUFFIXES)
    return images


def shown(suffixes: Collection[str]) -> str:
    """The first of them, for a line."""
    return ', '.join(list(suffixes)[:4]) + ', ...' * (len(suffixes) > 4)


def say_left_out(where: str, names: Iterable[str], suffixes: Collection[str], why: str = 'end as no image does') -> None:
    """Say on standard error how many files are left out because of their suffixes, and which; hidden files do not count.

    Args:
        where: What is said first: the folder, or the key that names it.
        names: Of all files.
        suffixes: Of images, in small letters.
        why: The files are left out.
    """
    names = [name.lower() for name in names if not name.startswith('.')]
    left = Counter(os.path.splitext(name)[1] or 'none' for name in names if not name.endswith(tuple(suffixes)))
    if left and os.environ.get('RANK', '0') == '0':
        said = ', '.join(f'{suffix} {count}' for suffix, count in left.most_common(5)) + ', ...' * (len(left) > 5)
        print(f'nepa_mm: {where}: {left.total()} of {len(names)} files are left out, for they {why} ({said})', file=sys.stderr)


def files_under(folder: str | Path, onerror: Callable[[OSError], None] | None = None) -> Iterator[str]:
    """Paths of all files in a folder and those inside it, as one listing gives them: asking for each is slow on a network.

    Args:
        folder: To look into.
        onerror: Gets the error of a folder that cannot be read; by default that is passed over.
    """
    for place, _, names in os.walk(folder, onerror=onerror, followlinks=True):
        yield from (os.path.normpath(os.path.join(place, name)) for name in names)


def names_under(folder: str | Path) -> Iterator[str]:
    """Names of the files in a folder and those inside it that a dataset looks at; of hidden ones it sees nothing."""
    for _, _, names in os.walk(folder, followlinks=True):
        yield from (name for name in names if not name.startswith('.'))


def listed(path: Path) -> list[Path]:
    """Images that the lines of a text file name."""
    images = []
    for number, line in enumerate(path.read_text(encoding='utf-8-sig', errors='surrogateescape').splitlines(), 1):
        if line.strip():
            choices = [Path(line.strip()), path.parent / line.strip()]
            there = [choice for choice in choices if choice.is_file()]
            if not there:
                raise DataError(f'{line.strip()} does not exist, nor from the folder of the list', f'{path}, line {number}',
                                'mend the path or take it out')
            images.append(there[0])
    if not images:
        raise DataError('it names no image', str(path), 'write a path on each line')
    return images
