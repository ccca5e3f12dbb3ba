"""Text files with the names of classes, and their colours or values: CamVid's, CVAT's, a table, or a name on each line."""
import re
from dataclasses import dataclass
from pathlib import Path

from nepa_mm.errors import DataError

KNOWN = ('classes', 'class_dict', 'class_names', 'label_colors', 'label_colours', 'labelmap', 'label_map', 'labels', 'colors',
         'colours', 'palette')
SUFFIXES = ('.txt', '.csv', '.tsv')
NONE = {'void', 'unlabeled', 'unlabelled', 'ignore', 'ignored', 'unknown', '__ignore__'}  # names of what is no class
COLOUR = re.compile(r'(?<![\w#])(\d{1,3})[\s,;]+(\d{1,3})[\s,;]+(\d{1,3})(?!\w)')
HEX = re.compile(r'#([0-9a-fA-F]{6})\b')
VALUE = re.compile(r'^\s*(\d{1,5})[\s,;:=]+(?=\D)')
EDGES = ' \t,;:="\''


@dataclass(frozen=True)
class ClassName:
    """A line of the file."""
    name: str
    colour: tuple[int, int, int] | None = None
    value: int | None = None

    @property
    def is_none(self) -> bool:
        """Whether the name says that these pixels are of no class."""
        return self.name.strip().lower() in NONE


def find_class_names(data: Path, given: Path | None) -> tuple[Path | None, list[ClassName]]:
    """The file of names that is given, or the one of a usual name in the folder of the data, and what it says.

    Raises:
        DataError: If the file that is given names no classes, or two have one name or colour.
    """
    if given is not None:
        return given, read_class_names(given)
    for path in sorted(data.iterdir()):
        if path.stem.lower() in KNOWN and path.suffix.lower() in SUFFIXES and path.is_file():
            return path, read_class_names(path)
    return None, []


def read_class_names(path: Path) -> list[ClassName]:
    """
    Raises:
        DataError: If it is not there or names no class, or two lines have one name, colour or value.
    """
    if not path.is_file():
        raise DataError('there is no such file', str(path), 'give a text file with the name of a class on each line')
    lines = [line for line in path.read_text(encoding='utf-8-sig', errors='replace').splitlines()
             if line.strip() and not line.lstrip().startswith('# ')]
    found = [parsed(line) for line in lines]
    coloured = sum(item.colour is not None for item in found)
    if coloured and found[0].colour is None and coloured == len(found) - 1:  # a header
        found = found[1:]
    elif coloured and coloured < len(found):
        line = next(line for line, item in zip(lines, found) if item.colour is None)
        raise DataError(f'the line {line!r} has no colour, and others have', str(path), 'write red, green and blue on each')
    if len(found) < 2:
        raise DataError(f'it names {len(found)} classes', str(path), 'write a name on each line, and its colour if it has one')
    for what in ('name', 'colour', 'value'):
        seen = {}
        for item in found:
            key = getattr(item, what)
            if key is not None and key in seen:
                raise DataError(f'{seen[key].name!r} and {item.name!r} have the {what} {key!r}', str(path),
                                'give each class its own')
            seen[key] = item
    return found


def parsed(line: str) -> ClassName:
    """A name, with three numbers that are a colour, or one before it that is a value."""
    match = COLOUR.search(line)
    if match:
        colour = tuple(map(int, match.groups()))
        if max(colour) <= 255:
            return ClassName((line[:match.start()] + line[match.end():]).strip(EDGES), colour)
    match = HEX.search(line)
    if match:
        colour = tuple(bytes.fromhex(match[1]))
        return ClassName((line[:match.start()] + line[match.end():]).strip(EDGES), colour)
    match = VALUE.match(line)
    if match:
        return ClassName(line[match.end():].strip(EDGES), value=int(match[1]))
    return ClassName(line.strip(EDGES))
