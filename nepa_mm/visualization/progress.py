"""What a person at the terminal sees of a training: how far it is, how fast it goes, how well it learns."""
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import timedelta

from rich.console import Console, ConsoleOptions, Group
from rich.progress_bar import ProgressBar
from rich.table import Column, Table
from rich.text import Text

# Above these a number is a warning, and an alarm
WAITING = (0.05, 0.20)  # share of the time spent waiting for data
COLLAPSE = (0.5, 0.9)  # mean similarity of embeddings of different images; 1 when all look alike to the model


@dataclass
class Progress:
    """State of a run. Times are in seconds; None is what is not known yet, or not there."""
    title: str
    step: int = 0
    steps: int | None = None  # None in a test, which takes no steps
    epoch: int | None = None
    epochs: int | None = None
    elapsed: float = 0.
    left: float | None = None
    step_time: float | None = None
    images: int | None = None  # in a step
    waiting: float | None = None  # share of step_time
    memory: float | None = None  # GiB
    numbers: dict[str, float] = field(default_factory=dict)  # losses and the like, as last logged
    first_log: int | None = None  # the step at which there will be numbers
    check: tuple[str, int, int] | None = None  # validation or test, batches done and all


class SideBySide:
    """Texts in lines as wide as the terminal, broken between texts."""

    def __init__(self, texts: list[Text]) -> None:
        self.texts = texts

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Text]:
        lines = []
        for text in self.texts:
            if lines and lines[-1].cell_len + 2 + text.cell_len <= options.max_width:
                lines[-1].append('  ').append_text(text)
            else:
                lines.append(text.copy())
        yield from lines


def panel(progress: Progress) -> Group:
    """The display of a state, a few lines high. Its own words are ASCII, which every terminal has."""
    rows = [Text(progress.title, 'bold', no_wrap=True, overflow='ellipsis')]
    if progress.steps is not None:
        name = f'epoch {progress.epoch}/{progress.epochs}' if progress.epochs else 'training'
        rows += [bar(name, progress.step, progress.steps), SideBySide(facts(progress))]
    if progress.check is not None:
        name, done, total = progress.check
        rows.append(bar(f'{name} {done}/{total}', done, total))
    return Group(*rows)


def bar(name: str, done: int, total: int) -> Table:
    row = Table.grid(Column(no_wrap=True), Column(ratio=1), Column(no_wrap=True), padding=(0, 1), expand=True)
    row.add_row(name, ProgressBar(total=total, completed=done), f'{100 * done / max(total, 1):.0f} %')
    return row


def facts(progress: Progress) -> list[Text]:
    """Time, speed, waiting for data, losses, health."""
    said = [plain('step', f'{progress.step}/{progress.steps}'), plain('passed', clock(progress.elapsed)),
            plain('left', clock(progress.left))]
    if progress.step_time:
        rate = 1 / progress.step_time
        said.append(plain('images/s', f'{rate * progress.images:.4g}') if progress.images else plain('steps/s', f'{rate:.3g}'))
    if progress.waiting is not None:
        said.append(plain('waiting for data', f'{100 * progress.waiting:.0f} %', colour(progress.waiting, WAITING)))
    if 'loss' not in progress.numbers and progress.first_log:
        said.append(plain('loss', f'is read at step {progress.first_log}'))
    for name, value in progress.numbers.items():
        if name == 'collapse':
            said.append(gauge(value))
        else:
            said.append(plain(name, f'{value:.3e}' if name.endswith('lr') else f'{value:.4g}'))
    if progress.memory is not None:
        said.append(plain('memory', f'{progress.memory:.1f} GiB'))
    return said


def plain(name: str, value: str, style: str = 'bold') -> Text:
    return Text.assemble((name, 'dim'), ' ', (value, style))


def gauge(collapse: float) -> Text:
    """Ten places that fill as embeddings of different images become alike."""
    filled = round(10 * min(max(0., collapse), 1.))  # in this order, which makes 0 of NaN
    style = colour(collapse, COLLAPSE)
    return Text.assemble(('collapse', 'dim'), ' [', ('#' * filled, style), '.' * (10 - filled), '] ', (f'{collapse:.3f}', style))


def colour(value: float, bounds: tuple[float, float]) -> str:
    """Green below the first bound, red from the second on."""
    warning, alarm = bounds
    return 'bold green' if value < warning else 'bold yellow' if value < alarm else 'bold red'


def clock(seconds: float | None) -> str:
    """Hours, minutes and seconds, with days before."""
    return '?' if seconds is None else str(timedelta(seconds=round(seconds)))
