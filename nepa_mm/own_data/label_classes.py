"""Which class each value or colour of label maps is."""
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from nepa_mm.errors import ConfigError, DataError

from .class_names import ClassName
from .masks import Labels

IGNORED = 255
BINARY = ['background', 'foreground']
MOST_NAMELESS = 64  # colours that may be classes where no file names them; more are edges that were smoothed
DARK, BRIGHT = 64, 192  # values of masks that were saved lossily, around 0 and 255
RARE = 1e-3  # of the pixels


@dataclass
class LabelClasses:
    """Classes, and how labels become their numbers."""
    names: list[str]
    shares: list[float]  # of the pixels, of each class
    palette: list[list[int]] | None = None  # RGB of each class
    values: dict[int, int] = field(default_factory=dict)  # labels of values in files, where they are not the same
    by_colour: bool = False
    threshold: bool = False  # of values, all above 127 being 1
    ignored: float = 0.  # share of the pixels
    remarks: list[str] = field(default_factory=list)


def classes_of(labels: Labels, names: Sequence[ClassName], source: Path | None, ignore: Sequence[int],
               where: str) -> LabelClasses:
    """Which classes label maps have.

    Args:
        labels: What they hold.
        names: Of a file, if there is one.
        source: That file.
        ignore: Values that are no class, as told.
        where: The data, for errors.

    Raises:
        DataError: For one class only, more values than classes can be, or names that do not fit.
        ConfigError: For values to ignore that are in no label map.
    """
    if labels.kind == 'colours':
        found = of_colours(labels, names, source, ignore, where)
    else:
        absent = [value for value in ignore if value not in labels.pixels]
        if absent:
            raise ConfigError(f'{absent[0]} is in no label map', '--ignore', f'choose from {sorted(labels.pixels)[:20]}')
        found = of_lossy(labels) or of_values(labels, names, source, ignore, where)
    there = sum(share > 0 for share in found.shares)
    if len(found.names) < 2 or there < 2:
        raise DataError(f'{there} class is in the label maps, {found.names[:1]}, and labels tell two or more', where,
                        'look at a label map; name what is ignored by --ignore')
    if found.ignored:
        found.remarks.append(f'{100 * found.ignored:.1f} % of the pixels are ignored')
    rare = [name for name, share in zip(found.names, found.shares) if 0 < share < RARE]
    absent = [name for name, share in zip(found.names, found.shares) if not share]
    found.remarks += [f'{len(rare)} classes have less than a thousandth of the pixels: {", ".join(rare[:8])}'] * bool(rare)
    found.remarks += [f'{len(absent)} classes are in no label map: {", ".join(absent[:8])}'] * bool(absent)
    return found


def of_lossy(labels: Labels) -> LabelClasses | None:
    """Masks of black and white that were saved lossily, told apart in the middle; None for others."""
    dark = sum(count for value, count in labels.pixels.items() if value < DARK)
    bright = sum(count for value, count in labels.pixels.items() if BRIGHT <= value <= 255)
    if not labels.is_lossy or len(labels.pixels) < 3 or dark + bright < 0.98 * labels.total:
        return None
    above = sum(count for value, count in labels.pixels.items() if value > 127) / labels.total
    return LabelClasses(list(BINARY), [1 - above, above], threshold=True, remarks=[
        f'values from {min(labels.pixels)} to {max(labels.pixels)} of files that are saved lossily; above 127 is {BINARY[1]!r}'])


def of_values(labels: Labels, names: Sequence[ClassName], source: Path | None, ignore: Sequence[int], where: str) -> LabelClasses:
    """Of numbers."""
    ignored = set(ignore)
    is_binary = set(labels.pixels) == {0, IGNORED} and (not names or len(names) == 2 and names[0].value is None)
    if not is_binary and not any(name.value == IGNORED for name in names) and len(names) <= IGNORED:
        ignored |= {IGNORED} & labels.pixels.keys()
    ignored |= {name.value for name in names if name.is_none and name.value is not None}
    values = [value for value in sorted(labels.pixels) if value not in ignored]
    if len(values) > 255:
        raise DataError(f'{len(values)} values are in the label maps, and there can be 255 classes', where,
                        'give class numbers, not numbers of objects or saved photographs'
                        + ', in files that are not saved lossily' * labels.is_lossy)
    remarks = []
    if names:
        used = [name for name in names if not name.is_none or name.value is None]
        label_of = of_named(values, used, labels.palette, source, ignored, where)
        kept = [label for label, name in enumerate(used) if not name.is_none]
        label_of = {value: kept.index(label) if label in kept else IGNORED for value, label in label_of.items()}
        called = [used[label].name for label in kept]
    elif set(values) in ({0, 1}, {0, IGNORED}):
        label_of, called = {value: label for label, value in enumerate(values)}, list(BINARY)
    elif values and len(values) > values[-1] / 2:
        label_of = {value: value for value in values}
        called = [f'class {value}' for value in range(values[-1] + 1)]
    else:
        label_of = {value: label for label, value in enumerate(values)}
        called = [f'class {value}' for value in values]
        remarks = [f'{len(values)} values of 0 to {max(values, default=0)} are there and become classes; name all by --classes']
    label_of.update(dict.fromkeys(ignored, IGNORED))
    found = LabelClasses(called, [0.] * len(called), remarks=remarks)
    for value, count in labels.pixels.items():
        if label_of[value] == IGNORED:
            found.ignored += count / labels.total
        else:
            found.shares[label_of[value]] += count / labels.total
    found.values = {value: label for value, label in sorted(label_of.items()) if value != label}
    colours = {label: list(labels.palette[value]) for value, label in label_of.items() if value in labels.palette}
    if all(label in colours and len(set(colours[label])) > 1 or label == 0 for label in range(len(called))):
        found.palette = [colours.get(label, [0, 0, 0]) for label in range(len(called))]
    return found


def of_named(values: Sequence[int], names: Sequence[ClassName], palette: Mapping[int, tuple], source: Path | None,
             ignored: set[int], where: str) -> dict[int, int]:
    """The place in a file of names of each value: by its number, by its colour in the palette of the label maps, or in order."""
    if all(name.value is not None for name in names):
        known = {name.value: label for label, name in enumerate(names)}
        missing = [value for value in values if value not in known]
        if missing:
            raise DataError(f'{missing[:5]} are in label maps, and no name has these values', str(source),
                            f'name them, or leave them out: --ignore {" ".join(map(str, missing[:5]))}')
        return known
    of_colour = {name.colour: label for label, name in enumerate(names) if name.colour is not None}
    if of_colour and values and all(palette.get(value) in of_colour for value in values):
        return {value: of_colour[palette[value]] for value in values}
    if not values or values[-1] < len(names):
        return {value: value for value in range(len(names))}
    if len(values) == len(names):
        return {value: label for label, value in enumerate(values)}
    if 0 in ignored and values[-1] <= len(names):
        return {value: value - 1 for value in range(1, len(names) + 1)}
    raise DataError(f'{len(values)} values of label maps, from {values[0]} to {values[-1]}, for {len(names)} names in '
                    f'{str(source)!r}', where, f'say which value is no class, as --ignore {values[-1]} or --ignore 0, or write '
                    'each value before its name')


def of_colours(labels: Labels, names: Sequence[ClassName], source: Path | None, ignore: Sequence[int],
               where: str) -> LabelClasses:
    """Of colours, with names or without."""
    if ignore:
        raise ConfigError(f'{list(ignore)}, and label maps are coloured', '--ignore', "name the colour 'void' in a file for "
                          '--classes')
    named = {name.colour: name.name for name in names if name.colour is not None and not name.is_none}
    if names and not named:
        raise DataError('it gives no colours, and label maps are coloured', str(source), 'write red, green and blue of each')
    if not named:
        colours = sorted(labels.pixels)
        if len(colours) > MOST_NAMELESS:
            raise DataError(f'{len(colours)} colours are in the label maps', where, 'name those of classes in a text file, a '
                            'name and red, green and blue on each line: --classes FILE; others are then ignored')
        black_white = colours == [(0, 0, 0), (255, 255, 255)]
        named = dict(zip(colours, BINARY if black_white else (f'#{bytes(colour).hex()}' for colour in colours)))
    if len(named) > 255:
        raise DataError(f'{len(named)} colours are named, and there can be 255 classes', str(source), 'leave some out')
    shares = [labels.pixels[colour] / labels.total for colour in named]
    found = LabelClasses(list(named.values()), shares, [list(colour) for colour in named], by_colour=True)
    found.ignored = max(1 - sum(shares), 0.) if sum(labels.pixels[colour] for colour in named) < labels.total else 0.
    if found.ignored > 0.5:
        strange = next(colour for colour, _ in labels.pixels.most_common() if colour not in named)
        raise DataError(f'{100 * found.ignored:.0f} % of the pixels have colours that it does not name, such as {strange}',
                        str(source or where), 'name the colours of these label maps')
    return found
