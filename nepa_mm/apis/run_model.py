"""Run a model over images: workers prepare them, the main process feeds the model and hands on what comes out, batch by batch.

All commands of inference go through :meth:`Inference.run`. What a batch gives is arrays: an object for each image would cost the
main process more than all else that it does.
"""
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import repeat
from pathlib import Path

import numpy as np
import torch
from mmcv.transforms import BaseTransform
from mmengine.dataset import Compose
from mmengine.model import BaseModel
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn
from torch import Tensor

from nepa_mm.errors import ConfigError, DataError, ProcessError, is_first_process, leave_word
from nepa_mm.models.compiled import is_disabled, require_compiler

from .image_batches import Group, PreparedImages, batches_of, unpredicted
from .several_processes import share_of, sum_of_all

Columns = dict[str, np.ndarray | list]  # what a model says of the images of a batch, by name
Predict = Callable[[Tensor, list | None], Columns]
Receive = Callable[[list[int], Columns], None]


@dataclass
class Inference:
    """A model, and how images come to it.

    Args:
        load: What reads an image.
        prepare: What follows in its test pipeline.
        workers: Processes that read and prepare images; 0 leaves that to the main one.
        amp: Compute in bfloat16 where autocast does.
        compile: Compile the backbone; batches then have one size.
    """
    model: BaseModel
    load: BaseTransform
    prepare: Compose
    batch_size: int = 8
    workers: int = 0
    amp: bool = False
    compile: bool = False

    def __post_init__(self) -> None:
        self.device = next(self.model.parameters()).device
        if self.device.type == 'cuda':
            torch.cuda.set_device(self.device)
        if self.compile:
            if not is_disabled():
                require_compiler('--compile')
            self.model.backbone.compile()

    def run(self, paths: Sequence[Path], predict: Predict, receive: Receive, done: np.ndarray | None = None,
            samples: bool = False) -> int:
        """Predict this process's share of the images, in their order.

        An image that cannot be read or predicted costs one line on standard error, and the others go on.

        Args:
            predict: From inputs [B, C, H, W] on the device, and data samples if they are asked for, to B values of each column.
            receive: Called with the places of images in ``paths``, and their columns.
            done: Which images need no prediction. A batch is left out if it has only such, so that the other batches are those
                of a run from the start, and give its bits.
            samples: Whether ``predict`` needs mm's data samples.

        Returns:
            How many images of this process failed.

        Raises:
            ConfigError: If a batch takes more memory than the device has.
            ProcessError: If a worker died.
        """
        batches = [range(first, min(first + self.batch_size, len(paths))) for first in range(0, len(paths), self.batch_size)]
        if done is not None:
            batches = [batch for batch in batches if not done[batch.start:batch.stop].all()]
        batches = share_of(batches)
        workers = min(self.workers, len(batches)) if len(batches) > 1 else 0
        images = PreparedImages(paths, self.load, self.prepare, samples)
        loader = batches_of(images, batches, workers, self.device.type == 'cuda')
        failed = 0
        # autocast around all: it then makes its copies of the weights once
        with progress_bar(sum(map(len, batches))) as advance, torch.no_grad(), naming_dead_workers(), \
                torch.autocast(self.device.type, torch.bfloat16, enabled=self.amp):
            for batch, indices in zip(loader, batches):
                for line in batch.failures:
                    failed += failure(line)
                for group in batch.groups:
                    for part, columns in self.predicted(predict, group):
                        if isinstance(columns, Exception):
                            failed += failure(unpredicted(part.sizes[0], columns, images.path(part.indices[0])))
                        else:
                            receive(part.indices, columns)
                advance(len(indices))
        return failed

    def predicted(self, predict: Predict, group: Group) -> Iterator[tuple[Group, Columns | Exception]]:
        """Columns of a group; where that fails, image by image, and the error of what fails alone."""
        try:
            columns = self.columns(predict, group)
        except torch.OutOfMemoryError:
            raise ConfigError(f'{len(group.indices)} takes more memory than the device has', '--batch-size', 'lower it') from None
        except Exception as error:  # hosts raise anything
            if os.environ.get('NEPA_DEBUG') == '1':
                raise
            columns = error
        if isinstance(columns, Exception) and len(group.indices) > 1:
            for i in range(len(group.indices)):
                yield from self.predicted(predict, group.part(i))
        else:
            yield group, columns

    def columns(self, predict: Predict, group: Group) -> Columns:
        """What the model says of a group; one that is compiled gets as many images as always."""
        count, inputs, samples = len(group.indices), group.inputs, group.samples
        missing = self.batch_size - count if self.compile else 0
        if missing:
            inputs = torch.cat([inputs, inputs[-1:].expand(missing, *inputs.shape[1:])])
            samples = samples and [*samples, *repeat(samples[-1], missing)]
        columns = predict(inputs.to(self.device, non_blocking=True), samples)
        return {name: column[:count] for name, column in columns.items()} if missing else columns


@contextmanager
def progress_bar(total: int, of: str = 'images') -> Iterator[Callable[[int], None]]:
    """A bar on a terminal, of the first process; called with how many were done."""
    columns = ('{task.description}', BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    shown = sys.stderr.isatty() and is_first_process()
    with Progress(*columns, console=Console(stderr=True), disable=not shown, transient=True) as progress:
        task = progress.add_task(of, total=total)
        yield lambda count: progress.update(task, advance=count)


@contextmanager
def naming_dead_workers() -> Iterator[None]:
    """Let a ProcessError say in one line that a worker died."""
    try:
        yield
    except RuntimeError as error:
        if not str(error).startswith('DataLoader worker'):
            raise
        raise ProcessError('a worker died, as for want of memory', '--workers', 'lower it, or --batch-size') from error


def failure(message: str) -> int:
    """Print a line; 1, to count."""
    print(f'nepa_mm: error: {message}', file=sys.stderr, flush=True)
    return 1


def exit_code(failed: int, count: int) -> int:
    """Of a command, after all processes have come so far; the first says how many of the images failed."""
    failed = sum_of_all(failed)
    if not failed:
        return 0
    line = f'{failed} of {count} images failed | the lines above name them | mend them, or leave them out'
    if is_first_process():
        failure(line)
    leave_word(f'nepa_mm: error: {line}', DataError.exit_code)
    return DataError.exit_code
