"""Inference by the processes of a launcher, such as tools/dist_run.py: each has its share of the images."""
import os
from collections.abc import Sequence
from datetime import timedelta
from functools import cache

import torch
import torch.distributed as dist

# Each does its share without the others. The first waits for the slowest, however long that takes.
PATIENCE = timedelta(days=30)


def join_processes() -> dist.ProcessGroupGloo | None:
    """The group of the processes that the launcher started, which all have come so far; None for one alone."""
    return None if process_count() == 1 else group_of_all()


@cache
def group_of_all() -> dist.ProcessGroupGloo:
    """Made once. It is not PyTorch's default group: where there is one, the hosts let the first process alone draw and print."""
    store, rank, count = next(dist.rendezvous('env://', timeout=timedelta(minutes=30)))
    return dist.ProcessGroupGloo(store, rank, count, PATIENCE)


def process_count() -> int:
    """How many the launcher started; 1 without one."""
    return int(os.environ.get('WORLD_SIZE', 1))


def share_of(items: Sequence) -> Sequence:
    """Those of this process, which follow each other."""
    rank, count = int(os.environ.get('RANK', 0)), process_count()
    return items[len(items) * rank // count:len(items) * (rank + 1) // count]


def await_others() -> None:
    """Wait until all processes have come so far."""
    sum_of_all(0)


def sum_of_all(number: int) -> int:
    """A number summed up over the processes, which wait for each other."""
    group, total = join_processes(), torch.tensor([number])
    if group is not None:
        group.allreduce([total]).wait()
    return int(total)
