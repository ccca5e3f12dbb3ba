"""Images with their classes: of folders, with splits or without, or of a table."""
import os
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from nepa_mm.errors import ConfigError, DataError

from .files import image_files
from .label_table import SUFFIXES, read_table
from .splits import draw_split, sifted, split_folders, split_named

UNEQUAL = 20  # times as many images of one class as of another
Labelled = tuple[Path, tuple[int, ...]]


@dataclass
class LabelledImages:
    """Images by split, with the numbers of their classes."""
    root: Path
    classes: list[str]
    splits: dict[str, list[Labelled]]
    several: bool = False  # labels of an image
    drawn: bool = False  # whether the split was
    folders: dict[str, str] | None = None  # of splits, from root, where class folders say all of it; else lists are needed
    remarks: list[str] = field(default_factory=list)

    @property
    def paths(self) -> list[Path]:
        """All images."""
        return [path for items in self.splits.values() for path, _ in items]

    def counts(self, split: str) -> list[int]:
        """Images of each class in a split."""
        count = Counter(label for _, labels in self.splits.get(split, ()) for label in labels)
        return [count[label] for label in range(len(self.classes))]

    def without(self, paths: Collection[Path]) -> None:
        """Take images out, which takes lists of the others."""
        if paths:
            self.splits = sifted(self.splits, lambda item: item[0] not in paths, self.root)
            self.folders = None


def find_labelled(data: Path, val_share: float, seed: int, class_level: int = 1) -> LabelledImages:
    """Images with their classes in a folder or a table.

    Args:
        data: Folders with the names of classes, in train/, val/ and test/ or not; a table; or a folder with one.
        val_share: Of the images that validate, where no split says which.
        seed: Of their drawing.
        class_level: How many folders make the name of a class, from the outermost on.

    Raises:
        DataError: If there are no images, or fewer classes than two, or the names do not tell them apart.
    """
    tables = tables_of(data)
    found = of_tables(tables, data) if tables else of_folders(data, class_level)
    if len(found.classes) < 2:
        raise DataError(f'{found.classes} is one class, and a classifier tells two or more apart', str(data),
                        'give a folder of images for each class, or a table with labels; to train without labels: pretrain')
    require_different(found.classes, str(data))
    draw_missing(found, val_share, seed)
    found.remarks += remarks_on(found)
    return found


def tables_of(data: Path) -> dict[str | None, Path]:
    """The tables that say the labels, by their splits, None where one holds all; none if folders do."""
    if data.is_file():
        if data.suffix.lower() not in SUFFIXES:
            raise DataError(f'it is neither a folder nor a table ({", ".join(SUFFIXES)})', str(data), 'give one')
        return {None: data}
    found = [path for path in data.iterdir() if path.suffix.lower() in SUFFIXES[:2]] if data.is_dir() else []
    if len(found) == 1:
        return {None: found[0]}
    by_split = {split_named(path.stem): path for path in found if split_named(path.stem)}
    return by_split if 'train' in by_split else {}


def of_tables(tables: dict[str | None, Path], data: Path) -> LabelledImages:
    """Of tables, one for all or one for each split."""
    read = {split: read_table(table) for split, table in tables.items()}
    rows = [row._replace(split=split or row.split) for split, (part, _) in read.items() for row in part]
    if len({row.path.is_absolute() for row in rows}) > 1:
        rows = [row._replace(path=row.path.absolute()) for row in rows]
    classes = sorted({label for row in rows for label in row.labels}, key=as_number)
    inside = data.is_dir() and all(row.path.is_relative_to(data) for row in rows)
    root = data if inside else Path(os.path.commonpath([row.path.parent for row in rows]))
    found = LabelledImages(root, classes, {}, several=any(several for _, several in read.values()))
    place = {name: label for label, name in enumerate(classes)}
    for row in rows:
        found.splits.setdefault(row.split or 'train', []).append((row.path, tuple(sorted(place[name] for name in row.labels))))
    return found


def as_number(name: str) -> tuple:
    """Sorts '2' before '10'."""
    return (0, int(name), '') if name.isdecimal() else (1, 0, name)


def of_folders(data: Path, level: int) -> LabelledImages:
    """Of folders that are classes, in folders that are splits or not."""
    images = image_files(data)
    data = inmost(data, images)
    folders = split_folders(data) or {'train': ''}
    named = {split: by_class(images, data / folder, level) for split, folder in folders.items()}
    classes = sorted(named['train'])
    if not classes:
        raise DataError('its images lie in no class folders', str(data / folders['train']),
                        'make a folder of images for each class, or give a table of path,label')
    named = {split: groups for split, groups in named.items() if groups}  # a test may have images alone
    folders = {split: folders[split] for split in named}
    for split, groups in named.items():
        strange = sorted(set(groups) - set(classes))
        if strange:
            raise DataError(f'class {strange[0]!r} has images in {folders[split]!r} and none in {folders["train"]!r}', str(data),
                            'add images of it to train on, or take it out')
    place = {name: label for label, name in enumerate(classes)}
    splits = {split: [(path, (place[name], )) for name in sorted(groups) for path in groups[name]]
              for split, groups in named.items()}
    found = LabelledImages(data, classes, splits, folders=folders)
    there = {split: sorted(path.name for path in (data / folder).iterdir() if path.is_dir()) for split, folder in folders.items()}
    if level > 1 or any(names != classes for names in there.values()) or any(set(groups) != set(classes)
                                                                             for groups in named.values()):
        found.folders = None
    alone = len(images) - len(found.paths)
    found.remarks += [f'{alone} images lie in no class folder and are left out'] * bool(alone)
    if level == 1:
        empty = [name for name in there['train'] if name not in place and not name.startswith('.')]
        found.remarks += [f'{len(empty)} class folders are empty and left out: {", ".join(empty[:5])}'] * bool(empty)
    return found


def inmost(data: Path, images: Sequence[Path]) -> Path:
    """The folder that holds more than one, inside a single one around it."""
    while True:
        inside = {path.relative_to(data).parts[0] for path in images}
        only = data / next(iter(inside))
        if len(inside) > 1 or not only.is_dir() or split_named(only.name):
            return data
        if len({path.relative_to(only).parts[0] for path in images if path.parent != only}) < 2:
            return data
        data = only


def by_class(images: Sequence[Path], folder: Path, level: int) -> dict[str, list[Path]]:
    """Images of each class folder in a folder."""
    groups = {}
    for path in images:
        if path.is_relative_to(folder):
            parts = path.relative_to(folder).parts
            if len(parts) > level:
                groups.setdefault('/'.join(parts[:level]), []).append(path)
    return groups


def require_different(classes: Sequence[str], where: str) -> None:
    """Refuse names of classes that differ in nothing, or in capitals or blanks alone.

    Raises:
        DataError: With the names.
    """
    seen = {}
    for name in classes:
        other = seen.setdefault(' '.join(name.lower().replace('_', ' ').split()), name)
        if other is not name:
            raise DataError(f'the classes {other!r} and {name!r} have one name', where, 'make them one class, or rename one')


def draw_missing(found: LabelledImages, val_share: float, seed: int) -> None:
    """Draw a validation where there is none; a test without labels of its own is the validation."""
    if 'val' not in found.splits:
        items = found.splits.get('train', [])
        total = Counter(label for _, labels in items for label in labels)
        rarest = [min(labels, key=lambda label: (total[label], label)) for _, labels in items]
        found.splits['train'], found.splits['val'] = draw_split(items, rarest, val_share, seed)
        found.folders, found.drawn = None, True
        if not found.splits['val']:
            raise DataError(f'{len(items)} images, one of each class at most: none is left to validate', str(found.root),
                            'give more images, or a val folder')
        found.remarks.append(f'no validation is there, so {len(found.splits["val"])} images are drawn for it by seed {seed}, '
                             f'{100 * val_share:g} % of each class')
    for split in ('train', 'val'):
        if not found.splits.get(split):
            raise ConfigError(f'no image is there for {split}', str(found.root), 'give some')


def remarks_on(found: LabelledImages) -> list[str]:
    """What is strange about the number of images in the classes."""
    counts, said = found.counts('train'), []
    few, many = min(counts), max(counts)
    absent = [name for name, count in zip(found.classes, counts) if not count]
    if absent:
        said.append(f'{len(absent)} classes have no image to train on: {", ".join(absent[:5])}')
    elif many >= UNEQUAL * few:
        least, most = (found.classes[counts.index(count)] for count in (few, many))
        said.append(f'classes are very unequal: {many} images of {most!r}, {few} of {least!r}; the accuracy says little about '
                    'the rare ones')
    lacking = [name for name, count in zip(found.classes, found.counts('val')) if not count]
    if lacking:
        said.append(f'{len(lacking)} classes have no image to validate: {", ".join(lacking[:5])}')
    return said
