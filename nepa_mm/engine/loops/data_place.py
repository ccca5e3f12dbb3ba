"""Where in its data a training is, so that one that is resumed goes on with the next image, with another batch as well."""
from collections.abc import Iterator
from dataclasses import dataclass

from mmengine.runner import EpochBasedTrainLoop, Runner
from mmengine.runner.loops import _InfiniteDataloaderIterator
from torch.utils.data import DataLoader

from nepa_mm.datasets import DrawSampler

from .effective_batch import StepIterator, StepLoader


@dataclass
class DataPlace:
    """A pass over the data, counted from 0, and how many of its images all processes together have drawn for finished steps.

    A sampler that never ends has one pass.
    """
    epoch: int = 0
    images: int = 0

    def moved(self, runner: Runner, steps: int) -> 'DataPlace':
        """The place so many optimizer steps later, or earlier if negative, in the same epoch of a loop of epochs."""
        loop, loader = runner.train_loop, runner.train_dataloader
        if loader.batch_size is None:  # a batch sampler of its own makes batches of any size
            return self
        batch = loader.batch_size * runner.world_size
        images = steps * getattr(loop, 'count', 1) * batch
        if isinstance(loop, EpochBasedTrainLoop):
            return DataPlace(loop.epoch, images + (self.images if self.epoch == loop.epoch else 0))
        if getattr(loader.sampler, 'is_infinite', False):
            return DataPlace(self.epoch, self.images + images)
        epochs, images = divmod(self.images + images, len(loader) * batch)
        return DataPlace(self.epoch + epochs, images)

    def indices(self, runner: Runner) -> list[int]:
        """Which images a process draws for the step that begins here; none if it is in the epoch before, or nobody knows."""
        loader = runner.train_dataloader
        if not isinstance(loader.sampler, DrawSampler) or loader.batch_size is None or self.images < 0:
            return []
        begin = self.images // runner.world_size
        end = begin + getattr(runner.train_loop, 'count', 1) * loader.batch_size
        if isinstance(loader, StepLoader) and loader.drop_last:  # the last step may be a smaller one
            end = min(end, len(loader.loader) * loader.batch_size)
        return loader.sampler.indices(self.epoch, begin, end)

    def begin_at(self, runner: Runner) -> None:
        """Let a run that is resumed draw the image after this place first, without reading those before."""
        loop, loader = runner.train_loop, runner.train_dataloader
        images = self.images // runner.world_size
        if isinstance(loop, EpochBasedTrainLoop):
            if self.epoch == loop.epoch:
                loader.sampler.begin_after(images)
        else:
            count, in_steps = getattr(loop, 'count', 1), isinstance(loop.dataloader_iterator, StepIterator)
            placed = PlacedIterator(loader, self.epoch, images, loop.iter * count)
            loop.dataloader_iterator = StepIterator(placed, count) if in_steps else placed


class PlacedIterator:
    """mmengine's infinite iterator over a loader, begun where it should: mmengine's own way there passes over nothing.

    Args:
        dataloader: The loader.
        epoch: The pass that it begins in.
        images: How many of that pass this process leaves out.
        batches: How many batches mmengine will ask to pass over; its older versions by drawing each.
    """

    def __init__(self, dataloader: DataLoader, epoch: int, images: int, batches: int) -> None:
        self.dataloader, self.epoch, self.images = dataloader, epoch, images
        self.to_pass = 0 if hasattr(_InfiniteDataloaderIterator, 'skip_iter') else batches
        self.iterator = None

    def skip_iter(self, steps: int) -> None:
        """Pass over nothing."""

    def __iter__(self) -> Iterator:
        return self

    def __next__(self):
        if self.to_pass:
            self.to_pass -= 1
            return None
        if self.iterator is None:  # not earlier: mmengine's hooks set an epoch before the first step
            self.dataloader.sampler.set_epoch(self.epoch)
            self.dataloader.sampler.begin_after(self.images)
            self.iterator = _InfiniteDataloaderIterator(self.dataloader)
            self.iterator._epoch = self.epoch
        return next(self.iterator)
