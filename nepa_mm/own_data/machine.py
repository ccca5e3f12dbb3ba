"""The device at hand, and what a training step would take of it, counted."""
import os
import warnings
from dataclasses import dataclass
from pathlib import Path

import torch
from mmengine.config import Config

from nepa_mm.analysis.cost.made_up_batch import made_up_batch, size_in_bytes
from nepa_mm.analysis.cost.training_step import memory_parts, operations, without_checkpoints

SHARE = 0.75  # of the memory: the count knows neither the allocator's losses nor a GPU's context
# Of a container, by cgroups 2 and 1
LIMITS = (Path('/sys/fs/cgroup/memory.max'), Path('/sys/fs/cgroup/memory/memory.limit_in_bytes'))
CORE = 2.4e10  # operations in a second of a core, as small models reach


@dataclass(frozen=True)
class Machine:
    """Where the config is to train."""
    name: str
    memory: float  # bytes
    cores: int
    is_gpu: bool

    @classmethod
    def here(cls, memory_gib: float | None = None, cpu: bool = False) -> 'Machine':
        """This machine: its first GPU, or its cores where there is none or ``cpu`` is asked for."""
        cores = len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count() or 1
        if torch.cuda.is_available() and not cpu:
            facts = torch.cuda.get_device_properties(0)
            found = cls(facts.name, facts.total_memory, cores, True)
        else:
            found = cls(f'{cores} CPU cores', host_memory(), cores, False)
        return found if memory_gib is None else cls(found.name, memory_gib * 2**30, cores, found.is_gpu)

    def __str__(self) -> str:
        return f'{self.name}, {self.memory / 2**30:.0f} GiB'


def host_memory() -> int:
    """Bytes that this process may fill: the machine's, or fewer by the limit of the container that it is in."""
    texts = [path.read_text().strip() for path in LIMITS if path.is_file()]
    limits = [int(text) for text in texts if text.isdecimal()]  # 'max' is none
    return min([os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES'), *limits])


@dataclass(frozen=True)
class Cost:
    """What a training step takes, by dry_run.py's count."""
    fixed: float  # bytes, whatever the batch
    image: float  # bytes more for each image
    work: float  # operations for each image

    @classmethod
    def of(cls, cfg: Config, images: int = 2) -> 'Cost':
        """Of the config of a training."""
        cfg = without_checkpoints(cfg)
        with warnings.catch_warnings():  # the hosts' hints, which the training gives again
            warnings.simplefilter('ignore')
            parts, batch = memory_parts(cfg, images), size_in_bytes(made_up_batch(cfg, images))
            work = operations(cfg, images=images)[1]
        averages = sum('EMA' in str(hook.type) for hook in cfg.get('custom_hooks') or [])
        activations = parts.pop('activations')
        return cls(sum(parts.values()) + averages * parts['parameters'], (activations + batch) / images, work)

    def memory(self, batch: int) -> float:
        """Bytes of a step."""
        return self.fixed + self.image * batch

    def most(self, machine: Machine) -> float:
        """Images of a batch that fit."""
        return (SHARE * machine.memory - self.fixed) / self.image

    def images_in(self, seconds: float, machine: Machine) -> float:
        """Images that the cores of a machine train on in so many seconds, as an estimate."""
        return seconds * machine.cores * CORE / self.work
