"""What came of a test, for a person: tables for a log or a terminal, and one HTML file with pictures that needs nothing else."""
import base64
import io
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from html import escape
from importlib.resources import files
from numbers import Real

import numpy as np
from PIL import Image
from rich.console import Console
from rich.table import Table
from rich.text import Text

from nepa_mm.errors import DataError
from nepa_mm.evaluation.class_report import Grid, class_grid, confusion_grid
from nepa_mm.evaluation.tallies import SIDE, ClassificationTally, Scored, SegmentationTally, Tally

WIDTH = 120  # of tables in a log
LINES = 40  # of a table in a log; of more classes the worst and the best are shown
BEST = 5
NO_CLASS = (225, 225, 225)  # colour of what is not labelled
HEAD = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<title>{title}</title>
<style>
{css}</style>
</head>
<body>
"""


@dataclass
class ResultReport:
    """What there is to say.

    Args:
        title: One line.
        facts: Of what and by what, by their names.
        metrics: As the evaluator gives them.
        tally: What was counted.
        palette: RGB in 0..255 of each class of a segmentation; colours are drawn where there are none.
    """
    title: str
    facts: dict[str, str]
    metrics: dict[str, float]
    tally: Tally
    palette: Sequence[Sequence[int]] = ()

    def __post_init__(self) -> None:
        if not isinstance(self.tally, SegmentationTally):
            self.palette = ()
        elif len(self.palette) != len(self.tally.classes):
            self.palette = np.random.default_rng(42).integers(0, 255, (len(self.tally.classes), 3)).tolist()

    def text(self) -> str:
        """The tables, in lines that a log takes; their own words are ASCII."""
        console = Console(file=io.StringIO(), width=WIDTH, color_system=None, legacy_windows=False)
        extremes = self.tally.extremes
        worst = Grid(['score %', 'image'], [[f'{100 * image.score:.2f}', image.path] for image in extremes.sheet()[0]], names=0,
                     note=f'Score: {self.score_means()}.')
        console.print(Text(self.title))
        for title, grid in (*self.grids(), (f'worst of {extremes.total:,} images', worst)):
            console.print(Text(f'\n{title}'), as_table(grid), Text(grid.note), sep='\n')
        return '\n'.join(line.rstrip() for line in console.file.getvalue().splitlines())

    def grids(self) -> Iterator[tuple[str, Grid]]:
        yield 'classes, worst first', class_grid(self.tally)
        confused = confusion_grid(self.tally)
        if confused is not None:
            yield 'confusions that cost most', confused

    def score_means(self) -> str:
        """What an image's score is."""
        if isinstance(self.tally, SegmentationTally):
            return 'mean IoU of the classes that the image has or was said to have'
        if isinstance(self.tally, ClassificationTally):
            return "probability that the model gives the image's own class"
        return "F1 of the image's classes"

    def page(self, picture_of: Callable[[Scored], Image.Image]) -> str:
        """The HTML file.

        Args:
            picture_of: Gives an image in RGB, or raises DataError.
        """
        css = files(__package__).joinpath('page/report.css').read_text()
        return ''.join([
            HEAD.format(title=escape(self.title), css=css), f'<h1>{escape(self.title)}</h1>\n<dl class="facts">\n',
            *(f'<dt>{escape(name)}</dt><dd>{escape(value)}</dd>\n' for name, value in self.facts.items()), '</dl>\n',
            '<dl class="numbers">\n', *(f'<div><dt>{escape(name)}</dt><dd>{value:.2f}</dd></div>\n' for name, value in
                                        self.metrics.items() if isinstance(value, Real)), '</dl>\n',  # no lists, no matrices
            *(part for title, grid in self.grids() for part in self.section(title, grid)),
            *self.sheets(picture_of), '</body>\n</html>\n'])

    def section(self, title: str, grid: Grid) -> Iterator[str]:
        coloured = ' class="coloured"' if len(self.palette) and grid.names == 1 else ''
        yield (f'<h2>{title.capitalize()}</h2>\n<p class="note">{escape(grid.note)}</p>\n<div class="scroll">'
               f'<table{coloured}>\n<thead><tr>')
        for place, head in enumerate(grid.columns):
            yield f'<th scope="col"{name_class(place, grid)}>{escape(head)}</th>'
        yield '<th class="bar"></th></tr></thead>\n<tbody>\n'
        for row, label, share in zip(grid.rows, grid.classes, grid.shares):
            yield '<tr class="all">' if label is None else '<tr>'
            for place, cell in enumerate(row):
                edge = f' style="box-shadow:inset .75rem 0 {rgb(self.palette[label])}"' if (
                    coloured and place == 0 and label is not None) else ''
                yield f'<td{name_class(place, grid)}{edge}>{escape(cell)}</td>'
            yield '<td class="bar"></td>' if share != share else f'<td class="bar"><i style="width:{100 * share:.1f}%"></i></td>'
            yield '</tr>\n'
        yield '</tbody>\n</table></div>\n'

    def sheets(self, picture_of: Callable[[Scored], Image.Image]) -> Iterator[str]:
        """The worst and the best images."""
        extremes, is_wide = self.tally.extremes, isinstance(self.tally, SegmentationTally)
        sides = f' Beside each: its labels, then the prediction. All are scaled down to {SIDE} pixels a side.' * is_wide
        for name, images in zip(('worst', 'best'), extremes.sheet()):
            if not images:
                continue
            yield (f'<h2>The {name} images</h2>\n<p class="note">The {len(images)} of {extremes.total:,} with the '
                   f'{"lowest" if name == "worst" else "highest"} score: {escape(self.score_means())}.{sides}</p>\n')
            yield from self.legend(images)
            yield f'<div class="sheet{" wide" * is_wide}">\n'
            for image in images:
                yield f'<figure><div class="pictures">{self.picture(image, picture_of)}'
                yield from self.maps(image)
                yield (f'</div><figcaption>{escape(self.caption(image))}<span title="{escape(image.path)}">'
                       f'{escape("/".join(image.path.split("/")[-2:]))}</span></figcaption></figure>\n')
            yield '</div>\n'

    def picture(self, image: Scored, picture_of: Callable[[Scored], Image.Image]) -> str:
        try:
            picture = picture_of(image).copy()
        except DataError as error:
            return f'<div class="missing">no picture: {escape(error.what)}</div>'
        picture.thumbnail((SIDE, SIDE))
        return img(picture, 'JPEG', 'the image', quality=80)

    def maps(self, image: Scored) -> Iterator[str]:
        if isinstance(self.tally, SegmentationTally):
            colours = np.full((256, 3), NO_CLASS, np.uint8)
            colours[:len(self.palette)] = self.palette
            for pixels, name in zip(image.facts, ('its labels', 'the prediction')):
                picture = Image.fromarray(pixels, 'P')
                picture.putpalette(colours.tobytes())
                yield img(picture, 'PNG', name, ' class="map"', optimize=True)

    def legend(self, images: Sequence[Scored]) -> Iterator[str]:
        if isinstance(self.tally, SegmentationTally):
            labels = sorted({int(label) for image in images for pixels in image.facts for label in np.unique(pixels)})
            yield '<ul class="legend">'
            for label in labels:
                is_class = label < len(self.tally.classes)
                yield (f'<li><i class="colour" style="background:{rgb(self.palette[label] if is_class else NO_CLASS)}"></i>'
                       f'{escape(self.tally.classes[label] if is_class else "not labelled")}</li>')
            yield '</ul>\n'

    def caption(self, image: Scored) -> str:
        """What a picture is of, and what it was taken for."""
        names = self.tally.classes
        if isinstance(self.tally, SegmentationTally):
            return f'{100 * image.score:.1f} %'
        if isinstance(self.tally, ClassificationTally):
            label, predicted, said = image.facts
            own = f'{names[label] if 0 <= label < len(names) else label} {100 * image.score:.1f} %'
            return own if label == predicted else f'{own}, taken for {names[predicted]} {100 * said:.1f} %'
        has, said = (', '.join(names[label] for label in labels) or 'nothing' for labels in image.facts)
        return f'{has}' if has == said else f'{has}; said: {said}'


def as_table(grid: Grid) -> Table:
    """A table of rich without lines."""
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False)
    for place, head in enumerate(grid.columns):
        is_name = place < grid.names or head == 'image'
        table.add_column(head, justify='left' if is_name else 'right', overflow='fold')
    rows = grid.rows
    if len(rows) > LINES:
        left_out = ['...', *[''] * (len(grid.columns) - 1)]
        rows = [*rows[:LINES - BEST - 2], left_out, *rows[-BEST - 1:]]
    for row in rows:
        table.add_row(*map(Text, row))
    return table


def name_class(place: int, grid: Grid) -> str:
    return ' class="name"' if place < grid.names else ''


def rgb(colour: Sequence[int]) -> str:
    return f'rgb({",".join(str(int(part)) for part in colour)})'


def img(picture: Image.Image, kind: str, alt: str, attributes: str = '', **options) -> str:
    """A picture inside the page."""
    file = io.BytesIO()
    picture.save(file, kind, **options)
    data = base64.b64encode(file.getvalue()).decode()
    return (f'<img{attributes} width="{picture.width}" height="{picture.height}" alt="{alt}" '
            f'src="data:image/{kind.lower()};base64,{data}">')
