"""What came of a test, for a person: tables for a log or a terminal, and one HTML file with pictures that needs nothing else."""
import base64
import io
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from numbers import Real

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
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
        html = Environment(loader=PackageLoader(__package__, 'page'), undefined=StrictUndefined, autoescape=True,
                           trim_blocks=True, keep_trailing_newline=True)
        html.filters['rgb'] = rgb
        return html.get_template('report.html').render(
            report=self, picture=lambda image: picture(image, picture_of), side=SIDE,
            numbers={name: value for name, value in self.metrics.items() if isinstance(value, Real)},  # no lists, no matrices
            sheets=dict(zip(('worst', 'best'), self.tally.extremes.sheet())), has_maps=isinstance(self.tally, SegmentationTally))

    def maps(self, image: Scored) -> Iterator[Markup]:
        """The labels and the prediction of an image of a segmentation, in the colours of the classes."""
        colours = np.full((256, 3), NO_CLASS, np.uint8)
        colours[:len(self.palette)] = self.palette
        for pixels, name in zip(image.facts, ('its labels', 'the prediction')):
            labels = Image.fromarray(pixels, 'P')
            labels.putpalette(colours.tobytes())
            yield img(labels, 'PNG', name, ' class="map"', optimize=True)

    def legend(self, images: Sequence[Scored]) -> Iterator[tuple[str, Sequence[int]]]:
        """Name and colour of each class in these label maps."""
        classes = self.tally.classes
        for label in sorted({int(label) for image in images for pixels in image.facts for label in np.unique(pixels)}):
            yield (classes[label], self.palette[label]) if label < len(classes) else ('not labelled', NO_CLASS)

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


def rgb(colour: Sequence[int]) -> str:
    return f'rgb({",".join(str(int(part)) for part in colour)})'


def picture(image: Scored, picture_of: Callable[[Scored], Image.Image]) -> Markup:
    """An image scaled down, or why there is none."""
    try:
        small = picture_of(image).copy()
    except DataError as error:
        return Markup('<div class="missing">no picture: {}</div>').format(error.what)
    small.thumbnail((SIDE, SIDE))
    return img(small, 'JPEG', 'the image', quality=80)


def img(picture: Image.Image, kind: str, alt: str, attributes: str = '', **options) -> Markup:
    """A picture inside the page."""
    file = io.BytesIO()
    picture.save(file, kind, **options)
    data = base64.b64encode(file.getvalue()).decode()
    return Markup(f'<img{attributes} width="{picture.width}" height="{picture.height}" alt="{alt}" '
                  f'src="data:image/{kind.lower()};base64,{data}">')
