"""What was found and what was chosen, as tables for the eyes."""
from collections import Counter
from pathlib import Path

from rich.markup import escape
from rich.table import Table
from rich.text import Text

from .choices import Choices
from .files import Pictures
from .label_classes import LabelClasses
from .labelled_images import LabelledImages
from .machine import Machine
from .mask_pairs import MaskPairs
from .masks import Labels

SHOWN = 20  # classes or values of a row
Row = tuple[str, str]


def of_pictures(pictures: Pictures, splits: dict[str, list[Path]]) -> list[Row]:
    """What was found in images."""
    sound, (mean, std) = pictures.sound, pictures.statistics()
    modes = Counter(picture.layout.mode for picture in sound if picture.layout)
    sizes = sorted((picture.size for picture in sound), key=lambda size: size[0] * size[1])
    said = f'{sizes[0][0]} x {sizes[0][1]}'
    if sizes[0] != sizes[-1]:
        said += f' to {sizes[-1][0]} x {sizes[-1][1]}, median {pictures.size[0]} x {pictures.size[1]}'
    looked = f', {len(pictures.looked_at)} looked at' if len(pictures.looked_at) < pictures.total else ''
    rows = [('images', f'{pictures.total}{looked}; {said} pixels'),
            ('channels', ', '.join(f'{mode} {count}' for mode, count in modes.items())
             + f'; mean {shown(mean)}, std {shown(std)}')]
    if pictures.transparent:
        rows.append(('note', f'{pictures.transparent} images have transparency, which is left out; for a band: --channels 4'))
    if pictures.broken:
        rows.append(('broken', f'{len(pictures.broken)} are left out, such as {pictures.broken[0].path}'))
    copies = pictures.copies()
    if copies:
        rows.append(('copies', f'{sum(map(len, copies)) - len(copies)} files have the bytes of another one, such as '
                               f'{copies[0][0]} and {copies[0][1]}'))
    split_of = {path: split for split, paths in splits.items() for path in paths}
    known = [group for group in copies if len({split_of.get(path) for path in group} - {None}) > 1]
    if known:
        rows.append(('note', f'{len(known)} images are in several splits, such as {known[0][0]}: what is measured is too good'))
    return rows


def shown(values: list[float]) -> str:
    """Numbers of which each is short."""
    return ' '.join(f'{value:.0f}' if abs(value) >= 100 else f'{value:.3g}' for value in values)


def of_classes(found: LabelledImages) -> list[Row]:
    """Classes with their images, and what is strange about them."""
    rows = [(split, f'{len(items)} images') for split, items in found.splits.items()]
    counts = sorted(zip(found.counts('train'), found.classes), reverse=True)
    said = ', '.join(f'{name} {count}' for count, name in counts[:SHOWN]) + ', ...' * (len(counts) > SHOWN)
    rows.append((f'{len(found.classes)} classes', said))
    return rows + notes(found.remarks)


def of_masks(found: MaskPairs, labels: Labels, classes: LabelClasses, source: Path | None) -> list[Row]:
    """Label maps with their classes, and what is strange about them."""
    rows = [(split, f'{len(pairs)} images with label maps') for split, pairs in found.splits.items()]
    named = f', names of {source}' * (source is not None)
    rows.append(('label maps', f'{len(found.pairs)}, all read: {said_of(labels)}{named}'))
    shares = sorted(zip(classes.shares, classes.names), reverse=True)
    rows.append((f'{len(shares)} classes', ', '.join(f'{name} {100 * share:.2g} %' for share, name in shares[:SHOWN])
                 + ', ...' * (len(shares) > SHOWN)))
    return rows + notes(found.remarks + classes.remarks)


def notes(remarks: list[str]) -> list[Row]:
    """What is worth a row of its own."""
    return [('note', remark) for remark in remarks]


def said_of(labels: Labels) -> str:
    """What label maps hold."""
    values = sorted(labels.pixels)
    if labels.kind == 'colours':
        return f'{len(values)} colours'
    said = ' '.join(map(str, values[:SHOWN])) + ' ...' * (len(values) > SHOWN)
    return f'values {said}' + ' of a palette' * (labels.kind == 'palette')


def found_table(data: Path, rows: list[Row]) -> Table:
    """What was found."""
    grid = Table(title=f'found in {escape(str(data))}', title_justify='left', show_header=False)
    for row in rows:
        grid.add_row(*map(Text, row))
    return grid


def chosen_table(choose: Choices, machine: Machine) -> Table:
    """What was chosen, and why."""
    grid = Table(title=f'chosen for {machine}; each by its option', title_justify='left')
    for name in ('option', 'value', 'why'):
        grid.add_column(name)
    for choice in choose.made.values():
        value = f'{choice.value:.4g}' if isinstance(choice.value, float) else str(choice.value)
        grid.add_row(f'--{choice.option}', Text(value), Text(choice.why))
    return grid
