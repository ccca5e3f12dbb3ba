"""Time whole iterations of the Runner, and in turns with it, in the same training, other systems on the same machine."""
import argparse
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import repeat

import torch
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.runner import Runner
from torch.utils.data import DataLoader

from nepa_mm.errors import ConfigError
from nepa_mm.launch.read_config import load_config

from .training_step import without_checkpoints

Clock = Callable[[int], float]  # runs so many steps and gives the seconds


def synchronize() -> None:
    """Wait until the GPU, if there is one, has done all that it was given."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()


class ReadyBatches(DataLoader):
    """A loader that has one batch ready, again and again."""

    def __init__(self, batch: dict, batch_size: int, count: int) -> None:
        super().__init__(range(batch_size * count), batch_size=batch_size, drop_last=True)
        self.batch, self.count = batch, count

    def __iter__(self) -> Iterator[dict]:
        return repeat(self.batch, self.count)


class Finished(Exception):
    """All turns are over; the training ends."""


class TurnsHook(Hook):
    """Time ``repeats`` turns of ``iterations`` whole iterations, hooks included, without a wait in between.

    Args:
        warmup: Iterations before the first turn.
        clock: ``time.perf_counter``, or ``time.process_time`` where other work shares the cores.
        others: By name, what takes turns with the Runner, for as many steps.
        apart: Let the others take their turns after all of the Runner's: a real loader would use theirs to run ahead.
    """
    priority = 'LOWEST'  # after all that an iteration does

    def __init__(self, warmup: int, iterations: int, repeats: int, clock: Callable[[], float],
                 others: Callable[[Runner], dict[str, Clock]], apart: bool = False) -> None:
        self.warmup, self.iterations, self.repeats, self.clock = warmup, iterations, repeats, clock
        self.make_others, self.apart = others, apart
        self.seconds: dict[str, list[float]] = {'runner': []}
        self.waited: list[float] = []
        self.seen = self.memory = 0

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch=None) -> None:
        """Note how long the loader was waited for."""
        if self.seen >= self.warmup:
            self.waited.append(time.perf_counter() - self.ended)

    def after_train_iter(self, runner: Runner, batch_idx: int, data_batch=None, outputs=None) -> None:
        self.seen += 1
        into = self.seen - self.warmup
        if into == 0:
            self.others = self.make_others(runner)
            self.seconds.update({name: [] for name in self.others})
            self.take_turns(self.warmup)
            if torch.cuda.is_available():
                torch.cuda.reset_peak_memory_stats()
            self.begin()
        elif into > 0 and into % self.iterations == 0:
            synchronize()
            self.seconds['runner'].append(self.clock() - self.began)
            self.memory = max(self.memory, torch.cuda.max_memory_allocated() if torch.cuda.is_available() else 0)
            last = len(self.seconds['runner']) == self.repeats
            for _ in range((self.repeats if last else 0) if self.apart else 1):
                for name, seconds in self.take_turns(self.iterations).items():
                    self.seconds[name].append(seconds)
            if last:
                raise Finished
            self.begin()
        self.ended = time.perf_counter()

    def take_turns(self, steps: int) -> dict[str, float]:
        """Seconds of one turn of each other system."""
        seconds = {}
        for name, other in self.others.items():
            if name != 'bare' and torch.cuda.is_available():
                torch.cuda.empty_cache()  # a peer has a process, and memory, of its own
            seconds[name] = other(steps)
        if len(self.others) > 1:
            self.others['bare'](1)  # not timed: the allocator takes back what it gave
        return seconds

    def begin(self) -> None:
        synchronize()
        self.began = self.clock()


def plain_loop(step: Callable, clock: Callable[[], float]) -> Clock:
    """A step so many times over, and nothing else."""

    def run(steps: int) -> float:
        synchronize()
        begin = clock()
        for _ in range(steps):
            step()
        synchronize()
        return clock() - begin

    return run


def take_turns(ways: dict[str, Callable[[], object]], turns: int, clock: Callable[[], float]) -> dict[str, list[float]]:
    """Seconds of each way in each turn, after one that is not timed, to warm up; every second turn goes the other way round."""
    seconds = {name: [] for name in ways}
    for turn in range(turns + 1):
        for name in list(ways)[::(-1)**turn]:
            took = plain_loop(ways[name], clock)(1)
            if turn:
                seconds[name].append(took)
    return seconds


def timed_config(args: argparse.Namespace, folder: str) -> Config:
    """The config of a command, of ``--batch-size`` images a step, without what reads or writes files beside the training."""
    args.work_dir = folder
    cfg = without_checkpoints(load_config(args))
    cfg.train_dataloader.batch_size = args.batch_size or cfg.train_dataloader.batch_size
    cfg.auto_scale_lr = None  # a step is one batch
    cfg.optim_wrapper.pop('accumulative_counts', None)
    cfg.setdefault('default_hooks', {})['checkpoint'] = None
    # Pictures are drawn of images of a data set, which a ready batch has none of.
    cfg.custom_hooks = [hook for hook in cfg.get('custom_hooks') or [] if hook.type != 'nepa_mm.QueryPatchesHook']
    return cfg


def run_turns(runner: Runner, hook: TurnsHook, batch: dict | None = None) -> None:
    """Train, on a batch that is ready if one is given, until the hook has had its turns; ConfigError if it ends before."""
    size = runner.cfg.train_dataloader.batch_size
    runner.register_hook(hook)
    if batch is not None:
        runner._train_dataloader = ReadyBatches(batch, size, hook.warmup + hook.iterations * (hook.repeats + 1))
    with suppress(Finished):
        runner.train()
    if len(hook.seconds['runner']) < hook.repeats:
        raise ConfigError(f'it ends before {hook.repeats} turns of {hook.iterations} steps of {size} images', 'train_cfg',
                          'lower the number of steps, --repeats or --batch-size')
