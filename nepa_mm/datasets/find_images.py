"""The images that a person names: files, folders, lists of video frames."""
import re
from collections.abc import Iterable
from pathlib import Path

from ..errors import DataError

SUFFIXES = ('.jpg', '.jpeg', '.png', '.ppm', '.bmp', '.pgm', '.tif', '.tiff', '.webp', '.gif')


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
            images = [file for file in path.rglob('*') if file.suffix.lower() in SUFFIXES and file.is_file()]
            images.sort(key=lambda file: [int(part) if part.isdecimal() else part for part in re.split(r'(\d+)', str(file))])
            if not images:
                raise DataError('it holds no image', str(path), f'give a folder of images ({", ".join(SUFFIXES)})')
            found += images
        elif not path.exists():
            raise DataError('there is no such file', str(path), 'give an image, a folder or a .txt file with a path on each line')
        elif path.suffix.lower() == '.txt':
            found += listed(path)
        else:
            found.append(path)
    return found


def listed(path: Path) -> list[Path]:
    """Images that the lines of a text file name."""
    images = []
    for number, line in enumerate(path.read_text(errors='replace').splitlines(), 1):
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
