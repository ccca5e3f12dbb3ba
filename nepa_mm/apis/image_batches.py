"""Batches of images for inference, which workers read, prepare and stack: what the main process gets is ready for the device."""
import os
import signal
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from mmcv.transforms import BaseTransform
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, default_collate, get_worker_info

from nepa_mm.errors import DataError, first_line

from .images import load_image

AHEAD = 2  # batches that a worker prepares before they are asked for
HELD = deque(maxlen=AHEAD)  # of a worker: see collate_and_hold


@dataclass
class Prepared:
    """One image: its place in the list, its height and width as a file, the model's input [C, H, W], and mm's data sample."""
    index: int
    size: tuple[int, int]
    inputs: Tensor
    sample: object = None


@dataclass
class Group:
    """Images that follow each other and have inputs of one shape: [B, C, H, W]."""
    indices: list[int]
    sizes: list[tuple[int, int]]
    inputs: Tensor
    samples: list | None

    def part(self, i: int) -> 'Group':
        """One of them alone."""
        part = slice(i, i + 1)
        return Group(self.indices[part], self.sizes[part], self.inputs[part], self.samples and self.samples[part])

    def pin_memory(self) -> 'Group':
        """For DataLoader: in memory that a GPU reads from while the main process goes on."""
        return replace(self, inputs=self.inputs.pin_memory())


class Batch(NamedTuple):
    """What a worker made of a batch: groups in the order of the images, and a line for each image that failed."""
    groups: list[Group]
    failures: list[str]


class PreparedImages(Dataset):
    """Images as the inputs of a model.

    Args:
        load: Reads one, see :func:`loader_of`.
        prepare: What follows in the pipeline, to a dict with ``inputs``.
        samples: Keep the data samples too, which cost the main process more than the pixels.
    """

    def __init__(self, paths: Sequence[Path], load: BaseTransform, prepare: Callable[[dict], dict],
                 samples: bool = False) -> None:
        # As one array: of a list of Python's, a worker would copy what it looks at, a million paths in the end
        names = [os.fsencode(path) for path in paths]
        self.names, self.ends = np.frombuffer(b''.join(names), np.uint8), np.cumsum([0, *map(len, names)])
        self.load, self.prepare, self.samples = load, prepare, samples

    def __len__(self) -> int:
        return len(self.ends) - 1

    def path(self, i: int) -> str:
        return os.fsdecode(self.names[self.ends[i]:self.ends[i + 1]].tobytes())

    def __getitem__(self, i: int) -> Prepared | str:
        """An image, or the line that says why there is none."""
        path = self.path(i)
        try:
            image = load_image(path, self.load)
        except DataError as error:
            return str(error)
        size = image.shape[:2]
        try:
            prepared = self.prepare(dict(img=image, img_shape=size, ori_shape=size))
            return Prepared(i, size, prepared['inputs'], prepared['data_samples'] if self.samples else None)
        except Exception as error:  # transforms raise anything
            if os.environ.get('NEPA_DEBUG') == '1':
                raise
            return unpredicted(size, error, path)


def unpredicted(size: tuple[int, int], error: Exception, path: str) -> str:
    """The line of an image that was read, and cannot be predicted."""
    return f'{size[1]}x{size[0]} pixels cannot be predicted ({type(error).__name__}: {first_line(error)}) | {path} | leave it out'


def stacked(images: list[Prepared | str]) -> Batch:
    """Stack, in a worker, what has one shape; it holds the memory of its newest batches as :func:`collate_and_hold` does."""
    groups = []
    for _, same in groupby((image for image in images if isinstance(image, Prepared)),
                           key=lambda image: (image.inputs.shape, image.inputs.dtype)):
        same = list(same)
        samples = [image.sample for image in same]
        groups.append(Group([image.index for image in same], [image.size for image in same],
                            default_collate([image.inputs for image in same]), None if samples[0] is None else samples))
    if get_worker_info() is not None:
        HELD.append(groups)
    return Batch(groups, [image for image in images if isinstance(image, str)])


def begin_worker(worker: int) -> None:
    """Leave Ctrl-C to the main process, and the other cores to the other workers."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    cv2.setNumThreads(0)


def batches_of(images: PreparedImages, indices: Sequence[Sequence[int]], workers: int, pin_memory: bool) -> DataLoader:
    """A loader of a :class:`Batch` for each sequence of indices, in this order."""
    return DataLoader(images, batch_sampler=indices, num_workers=workers, collate_fn=stacked, worker_init_fn=begin_worker,
                      pin_memory=pin_memory, prefetch_factor=AHEAD if workers else None)
