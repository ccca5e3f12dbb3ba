"""Tables of images and their labels: CSV of ``path,label``, with several labels or a column for each, and mm's lists."""
import csv
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from nepa_mm.errors import DataError
from nepa_mm.find_images import IMAGE_SUFFIXES

from .files import image_files
from .splits import split_named

SUFFIXES = ('.csv', '.tsv', '.txt')
PATHS = ('path', 'image', 'images', 'file', 'filename', 'file_name', 'image_path', 'img_path', 'image_id', 'id', 'name')
BETWEEN = ';|'  # labels in one cell
SHAPE = 'write path,label on each line, with more labels behind it where an image has several'


class Row(NamedTuple):
    """An image with the names of its labels, and its split where the table says it."""
    path: Path
    labels: tuple[str, ...]
    split: str | None = None


def read_table(table: Path) -> tuple[list[Row], bool]:
    """Rows of a table, and whether an image has several labels in it.

    Images are named from the folder of the table, or by their names or stems alone where these are unique below it.

    Raises:
        DataError: If it is no such table, or names an image that is not there, or one twice.
    """
    cells = list(lines_of(table))
    if not cells:
        raise DataError('it lists no image', str(table), SHAPE)
    header, first = None, cells[0][1]
    if any(name.strip().lower() in PATHS for name in first) or (
            not is_image(first[0]) and any(is_image(row[0]) for _, row in cells[1:])):
        header, cells = [name.strip() for name in first], cells[1:]
    columns = Columns.of(header or [''] * len(first), [row for _, row in cells])
    find, rows, seen = Finder(table.parent), [], {}
    for number, row in cells:
        where = f'{table}, line {number}'
        if len(row) < columns.least:
            raise DataError(f'it has {len(row)} columns of {columns.least}', where, SHAPE)
        labels, path = columns.labels_in(row), find(row[columns.path], where)
        if not labels:
            raise DataError(f'{row[columns.path]!r} has no label', where, SHAPE)
        if path in seen:
            raise DataError(f'{str(path)!r} stands in line {seen[path]} too', where, 'give all its labels in one line')
        seen[path] = number
        split = row[columns.split].strip().lower() if columns.split is not None else None
        rows.append(Row(path, labels, split and (split_named(split) or unknown_split(split, where))))
    if not rows:
        raise DataError('it lists no image', str(table), SHAPE)
    return rows, columns.one_hot or any(len(row.labels) > 1 for row in rows)


def is_image(name: str) -> bool:
    return name.strip().lower().endswith(IMAGE_SUFFIXES)


def unknown_split(name: str, where: str) -> None:
    raise DataError(f'{name!r} is no split', where, "write 'train', 'val' or 'test'")


def lines_of(table: Path) -> Iterator[tuple[int, list[str]]]:
    """Number and cells of each line that is not empty."""
    text = table.read_text(encoding='utf-8-sig', errors='replace').splitlines()
    first = next((line for line in text if line.strip()), '')
    between = next((mark for mark in ('\t', ',', ';') if mark in first), None)
    if between is None:  # mm's own: the label is the last word
        for number, line in enumerate(text, 1):
            if line.strip():
                yield number, line.strip().rsplit(' ', 1)
        return
    for number, row in enumerate(csv.reader(text, delimiter=between), 1):
        if any(cell.strip() for cell in row):
            yield number, row


class Columns(NamedTuple):
    """Which cells of a row are what."""
    path: int
    split: int | None
    labels: list[int]
    one_hot: bool  # whether each of these is a class, and 0 or 1
    names: list[str]

    @classmethod
    def of(cls, header: Sequence[str], rows: Sequence[Sequence[str]]) -> 'Columns':
        """From the names of the columns, '' where there are none."""
        names = [name.lower() for name in header]
        path = next((names.index(name) for name in PATHS if name in names), 0)
        split = names.index('split') if 'split' in names else None
        labels = [index for index in range(len(header)) if index not in (path, split)]
        values = {row[index].strip() for row in rows for index in labels if index < len(row)}
        one_hot = len(labels) > 1 and all(names) and values <= {'0', '1', '0.0', '1.0'}
        return cls(path, split, labels, one_hot, list(header))

    @property
    def least(self) -> int:
        """How many cells a row has to have; further labels it may lack."""
        return 1 + max(self.path, self.split or 0, *(self.labels if self.one_hot else ()))

    def labels_in(self, row: Sequence[str]) -> tuple[str, ...]:
        """Names of the labels of a row, each once."""
        if self.one_hot:
            return tuple(self.names[index] for index in self.labels if row[index].strip().startswith('1'))
        last = self.labels[-1] if self.labels else 0
        wanted = [*self.labels, *range(last + 1, len(row))]  # rows may be longer than the first
        cells = [row[index] for index in wanted if index < len(row) and index not in (self.path, self.split)]
        for mark in BETWEEN:
            cells = [part for cell in cells for part in cell.split(mark)]
        return tuple(dict.fromkeys(cell.strip() for cell in cells if cell.strip()))


class Finder:
    """From what a table calls an image to its file."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.by_name = folder, None

    def __call__(self, name: str, where: str) -> Path:
        """
        Raises:
            DataError: If there is no such image, or there are several.
        """
        path = Path(os.path.normpath(self.folder / name.strip()))  # a training refuses a list that leads out of its root
        if path.is_file():
            return path
        if self.by_name is None:
            self.by_name = {}
            for image in image_files(self.folder):
                for key in {image.name, image.stem}:
                    self.by_name.setdefault(key, []).append(image)
        found = self.by_name.get(Path(name.strip()).name, [])
        if len(found) != 1:
            which = f'{len(found)} images' if found else 'no image'
            raise DataError(f'{name.strip()!r} is {which} in {str(self.folder)!r}', where,
                            'write its path from the folder of the table')
        return found[0]
