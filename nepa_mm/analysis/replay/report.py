"""What a replayed step was, as tables."""
import math
import sys

from rich.console import Console
from rich.table import Table

from .replayed_step import ReplayedStep
from .saved_steps import SavedStep

LARGEST = 8  # modules and parameters in a table
console = Console(highlight=False, width=None if sys.stdout.isatty() else 200)  # of a pipe nobody knows how wide it is


def report_images(saved: SavedStep, rank: int, images: list[str]) -> None:
    """Say which step is done again, and with which images; before they are read, since one may be what ended the training."""
    of = f' of process {rank} of {saved.processes}' if saved.processes > 1 else ''
    console.print(f'Step {saved.step}{of}, from {saved.checkpoint}', style='bold', markup=False, soft_wrap=True)
    if saved.diverged:
        console.print(f'It was not taken: {saved.diverged["what"]}', markup=False, soft_wrap=True)
    shown = ', '.join(images) or 'not known, for the sampler makes batches of its own'
    console.print(f'Images: {shown}', markup=False, soft_wrap=True)


def report_step(saved: SavedStep, rank: int, replayed: ReplayedStep) -> None:
    """Hold each loss of the step against that of the training."""
    table = Table('', 'in the training', 'replayed', '')
    logged = saved.logged_losses(rank)
    for batch, losses in enumerate(replayed.losses):
        for name, value in losses.items():
            before = logged[batch].get(name) if batch < len(logged) else None
            of = f'batch {batch + 1} of {len(replayed.losses)}, ' if len(replayed.losses) > 1 else ''
            if before is not None or not (len(replayed.losses) == 1 and name == 'loss'):
                add(table, of + name, before, value)
    if not logged:
        add(table, 'loss of the step', saved.logged_loss(rank), replayed.loss)
    add(table, 'norm of the gradient' + (' of this process' if saved.processes > 1 else ''), None, replayed.grad_norm)
    console.print(table)
    if (saved.cfg.get('model_wrapper_cfg') or {}).get('param_dtype'):
        console.print('The training gathered parameters in another precision (model_wrapper_cfg.param_dtype): last bits differ.')
    if saved.processes > 1 and replayed.normalises_by_batch:
        console.print('A BatchNorm that is synchronised takes the statistics of all processes, here of this one: numbers differ.')


def add(table: Table, name: str, before: float | None, now: float) -> None:
    """A row with two numbers, to the last bit."""
    if before is None:
        table.add_row(name, 'not logged', repr(now), '')
    else:
        is_same = before == now or (math.isnan(before) and math.isnan(now))
        table.add_row(name, repr(before), repr(now), 'the same bits' if is_same else 'differs')


def report_numbers(seen: ReplayedStep) -> None:
    """Say where the first bad number appears, or if there is none, where the largest are."""
    if seen.bad is not None:
        table = Table('first bad number', 'pass', 'batch', 'what')
        table.add_row(seen.bad.module, seen.bad.direction, str(seen.bad.batch + 1), seen.bad.detail)
        console.print(table)
        return
    console.print('A loss is no number, and no module made it.' if seen.is_bad else 'All numbers are finite. The largest:')
    for title, numbers in (('output of', seen.outputs), ('gradient of', seen.gradients)):
        table = Table(title, 'largest magnitude')
        for name, value in sorted(numbers.items(), key=lambda pair: -pair[1])[:LARGEST]:
            table.add_row(name, f'{value:.6g}')
        console.print(table)
