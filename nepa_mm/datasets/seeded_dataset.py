"""A training set whose crops and flips depend on the seed, the epoch and the image alone.

Neither the number of loader workers nor what they drew before matters, so that a resumed training sees the pixels that it would
have seen; and since the order of images is dealt out to the processes in turn, their number does not matter either.
"""
import os
from collections.abc import Iterator
from contextlib import nullcontext
from functools import partial
from itertools import islice

import cv2
import numpy as np
import torch
from mmengine.dataset import BaseDataset, InfiniteSampler
from mmengine.dist import get_dist_info
from torch.multiprocessing import SimpleQueue
from torch.utils.data import Dataset, Sampler, get_worker_info

from nepa_mm.errors import DataError, first_line
from nepa_mm.registry import DATA_SAMPLERS, DATASETS
from nepa_mm.seeding import seed_all, seeded

WORKERS = 256  # the most of one loader whose images are told when they hang


class Draw(int):
    """The index of an image, and when it is drawn: the epoch, and the place in its order over all processes."""

    def __new__(cls, index: int, epoch: int, position: int) -> 'Draw':
        draw = super().__new__(cls, index)
        draw.epoch, draw.position = epoch, position
        return draw

    def __getnewargs__(self) -> tuple[int, int, int]:  # on its way to a worker
        return int(self), self.epoch, self.position


@DATA_SAMPLERS.register_module()
class DrawSampler(Sampler):
    """Any sampler of mmengine, mmpretrain or mmseg, for a :class:`SeededDataset`; it can begin within an epoch.

    Args:
        dataset: What to sample.
        sampler: Config of the sampler.
        seed: Of the order of images, the same in all processes.
    """

    def __init__(self, dataset: Dataset, sampler: dict, seed: int) -> None:
        self.build = partial(DATA_SAMPLERS.build, sampler, default_args=dict(dataset=dataset, seed=seed))
        self.sampler, self.dataset = self.build(), dataset  # batch samplers look at images themselves
        self.rank, self.world_size = get_dist_info()
        self.epoch = self.begin = 0

    @property
    def is_infinite(self) -> bool:
        """Whether it never begins a new epoch."""
        return isinstance(self.sampler, InfiniteSampler)

    def __iter__(self) -> Iterator[Draw]:
        begin, self.begin = self.begin, 0
        sampler = self.build() if self.is_infinite else self.sampler  # which would go on where another pass over it is
        for i, index in enumerate(islice(sampler, begin, None), begin):
            yield Draw(index, self.epoch, self.rank + self.world_size * i)

    def __len__(self) -> int:
        return len(self.sampler)

    def indices(self, epoch: int, begin: int, end: int) -> list[int]:
        """Which images this process draws in an epoch, from one place in its order to another."""
        sampler = self.build()  # what is being drawn goes on untouched
        if hasattr(sampler, 'set_epoch'):
            sampler.set_epoch(epoch)
        return list(islice(sampler, begin, end))

    def set_epoch(self, epoch: int) -> None:
        """Choose the order of an epoch."""
        self.epoch = epoch
        if hasattr(self.sampler, 'set_epoch'):
            self.sampler.set_epoch(epoch)

    def begin_after(self, images: int) -> None:
        """Let the next pass begin after so many of this process's images."""
        self.begin = images


@DATASETS.register_module()
class SeededDataset(Dataset):
    """A dataset whose sample is a function of the seed and the :class:`Draw`; in all else it is the dataset itself.

    Args:
        dataset: The dataset or its config.
        seed: Of the run, the same in all processes.
        replaces_bad: Draw another image in place of one that cannot be read, chosen by seed and :class:`Draw` as well, and tell
            the training process by ``bad_images``.
    """

    def __init__(self, dataset: dict | BaseDataset, seed: int, replaces_bad: bool = False) -> None:
        dataset = DATASETS.build(dataset) if isinstance(dataset, dict) else dataset
        # Which process works on which image, seen by all: rows of pid and index
        at_work = torch.full((WORKERS, 2), -1).share_memory_().numpy()
        self.__dict__.update(dataset=dataset, seed=seed, bad_images=SimpleQueue() if replaces_bad else None, at_work=at_work)

    def __getitem__(self, index: int):
        if not isinstance(index, Draw):  # someone looks at an image
            return self.dataset[index]
        worker = get_worker_info()
        row = self.at_work[worker.id if worker and worker.id < WORKERS else 0]
        row[:] = os.getpid(), index
        draw = 'sample', self.seed, index.epoch, index.position, index
        # In a worker nothing else draws, and to note where three generators were would cost as much as to decode a small image.
        with nullcontext(seed_all(*draw)) if worker else seeded(*draw):
            sample = self.readable(int(index), row) if self.bad_images else self.dataset[int(index)]
        row[1] = -1
        return sample

    def readable(self, index: int, row: np.ndarray):
        """The sample of an image, or of another where that cannot be read, which then stands in the row of who works on what."""
        for _ in range(100):
            row[1] = index
            try:
                return self.dataset[index]
            except (DataError, OSError, AssertionError, cv2.error) as error:  # ours, Pillow's, mmcv's, of an empty file
                self.bad_images.put((index, first_line(error)))
                index = np.random.randint(len(self))
        raise DataError('a hundred images one after another cannot be read', 'train_dataloader.dataset',
                        'look at the first that the log names')

    def __len__(self) -> int:
        return len(self.dataset)

    def __getattr__(self, name: str):  # metainfo, pipeline, full_init, ...
        if name == 'dataset':  # not there yet, as in a copy being made
            raise AttributeError(name)
        return getattr(self.dataset, name)

    def __setattr__(self, name: str, value) -> None:  # a hook may exchange the pipeline
        setattr(self.dataset, name, value)
