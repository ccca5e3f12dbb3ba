"""What ends a training from outside, or nearly does: signals, images that cannot be read, loader workers that die or hang.

It is heeded in the training process between two steps.
"""
import atexit
import json
import os
import signal
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.process import BaseProcess
from traceback import walk_stack, walk_tb
from types import FrameType

import torch.distributed as dist
from mmengine.dist import get_rank
from mmengine.hooks import Hook
from mmengine.runner import Runner
from torch.multiprocessing import _prctl_pr_set_pdeathsig as set_signal_of_parents_death  # does nothing where there is no prctl

from nepa_mm.datasets import SeededDataset
from nepa_mm.engine.loops.effective_batch import StepMixin
from nepa_mm.errors import DataError, Stopped, end_at_once
from nepa_mm.registry import HOOKS

SIGNALS = (signal.SIGTERM, signal.SIGUSR1, signal.SIGINT)
STOP_AFTER = 'nepa_mm/stop_after'  # in the store that the processes share
VALIDATED = 'nepa_mm/validated'  # there as well: how often a process has come to the end of a validation
BAD_IMAGES = 'bad_images'  # in the message hub, and so in checkpoints: paths of those that were left out


@HOOKS.register_module()
class StopOnSignalHook(Hook):
    """On SIGTERM or SIGUSR1, as schedulers send them, or Ctrl-C, finish the step, save it, and leave with 128 + signal.

    One process that has the signal is enough, and all that have it are no harm: the first writes the step into the store that
    the processes share, before its next gradient, without which no other can go further than the step after.
    More signals change nothing, but a second Ctrl-C, which ends the process at once. Loader workers, which are signalled as well
    where a whole group is, pay no heed (:class:`ReliableRunner`).

    Raises:
        Stopped: After the save.
    """
    priority = 'LOWEST'  # the averages, rates and checkpoints of the step are done

    def __init__(self) -> None:
        self.received, self.previous, self.store, self.interrupts, self.validations = None, {}, None, 0, 0

    def before_train(self, runner: Runner) -> None:
        self.runner, self.store = runner, shared_store(runner)
        ignored = signal.getsignal(signal.SIGINT) is signal.SIG_IGN  # as of what a script puts into the background
        self.previous = {number: signal.signal(number, self.receive) for number in SIGNALS[:2 if ignored else 3]}

    def receive(self, number: int, frame: FrameType) -> None:
        """Note the first signal."""
        if not is_training(self.runner, frame):  # which an error has ended
            self.after_train(self.runner)
            return os.kill(os.getpid(), number)
        self.interrupts += number == signal.SIGINT
        if self.interrupts > 1:
            end_at_once('ended at once, at the second one; checkpoints that were saved are whole')
        self.received = self.received or number

    def after_train_iter(self, runner: Runner, batch_idx: int, data_batch=None, outputs=None) -> None:
        # Batches of an optimizer step: an iteration of our loops takes all of them, one of mmengine's a single one.
        batches = 1 if isinstance(runner.train_loop, StepMixin) else getattr(runner.optim_wrapper, '_accumulative_counts', 1)
        if self.all_received(runner.iter) and (runner.iter + 1) % batches == 0:
            self.stop(runner, dict(epoch=runner.epoch, iter=runner.iter + 1))

    def after_val_iter(self, runner: Runner, batch_idx: int, data_batch=None, outputs=None) -> None:
        # Processes validate each at its own pace, and all have the same weights: none waits for another.
        if self.previous and (self.all_received(float('inf')) or self.is_left_by_others(runner, batch_idx)):
            self.stop(runner, dict(epoch=runner.epoch, iter=runner.iter))

    def is_left_by_others(self, runner: Runner, batch_idx: int) -> bool:
        """Wait after a process's last batch, where all must save together, for those that may be signalled before theirs."""
        if not getattr(runner, 'is_sharded', False) or batch_idx + 1 < len(runner.val_loop.dataloader):
            return False
        self.validations += 1
        self.store.add(VALIDATED, 1)
        while self.store.add(VALIDATED, 0) < self.validations * runner.world_size:
            if self.store.check([STOP_AFTER]):  # by one that has not come here
                return self.all_received(float('inf'))
            time.sleep(0.01)
        return False

    def stop(self, runner: Runner, meta: dict) -> None:
        """Save and leave; nothing but a second Ctrl-C interrupts that."""
        for number in SIGNALS[:2]:
            signal.signal(number, signal.SIG_IGN)
        path = runner.save_stopped(meta)
        said = (f'{signal.Signals(self.received).name}: stopped after step {meta["iter"]}, which is saved as {path}; go on with '
                '--resume')
        runner.logger.info(said)  # the hosts' tools would not show it
        raise Stopped(self.received, said)

    def all_received(self, step: float) -> bool:
        """Whether a process has the signal, told to all at the same step."""
        if self.store is None:
            return self.received is not None
        if self.received is not None:
            # Whoever is a step ahead waits for our gradient of the next one, and sees this after it. In a validation nobody is.
            self.store.compare_set(STOP_AFTER, '', f'{step + 1 if step < float("inf") else 0} {self.received}')
        if not self.store.check([STOP_AFTER]):
            return False
        last, number = map(int, self.store.get(STOP_AFTER).split())
        self.received = number
        return step >= last

    def after_train(self, runner: Runner) -> None:
        for number, handler in self.previous.items():
            signal.signal(number, handler)
        self.previous = {}


class DataTimeout(RuntimeError):
    """A batch has not come for too long."""


@HOOKS.register_module()
class LoaderFaultsHook(Hook):
    """Name and count images that were replaced, and stop where they are too many, or where no batch comes.

    Args:
        max_bad_images: The most images that may be left out, over all processes.
        timeout: Seconds to wait for a batch of the loader's workers; 0 for ever.

    Raises:
        DataError: If more images cannot be read.
        DataTimeout: Where the training process waits.
    """

    def __init__(self, max_bad_images: int = 0, timeout: float = 600.) -> None:
        self.max_bad_images, self.timeout, self.waited, self.awaited = max_bad_images, timeout, 0., None

    def before_train(self, runner: Runner) -> None:
        dataset = runner.train_dataloader.dataset
        self.queue = dataset.bad_images if isinstance(dataset, SeededDataset) else None
        if BAD_IMAGES not in runner.message_hub.runtime_info:
            runner.message_hub.update_info(BAD_IMAGES, [])
        self.known = runner.message_hub.get_info(BAD_IMAGES)
        self.read, self.told, self.heard = [], set(self.known), 0
        self.store = shared_store(runner) or dist.HashStore()
        if self.timeout:
            self.runner, self.tick = runner, min(5., self.timeout / 4)
            self.previous = signal.signal(signal.SIGALRM, self.look)
            signal.setitimer(signal.ITIMER_REAL, self.tick, self.tick)
            atexit.register(self.stop_timer)  # or after an error its signal would kill the process that says it

    def after_train(self, runner: Runner) -> None:
        if self.timeout:
            self.stop_timer()

    def stop_timer(self) -> None:
        signal.setitimer(signal.ITIMER_REAL, 0.)
        signal.signal(signal.SIGALRM, self.previous)
        atexit.unregister(self.stop_timer)

    def look(self, number: int, frame: FrameType) -> None:
        """Look at times whether the process still waits for a batch: PyTorch's own time limit would hide a worker that died."""
        if not is_training(self.runner, frame):  # an error has ended it
            return self.stop_timer()
        loaders = [each.f_locals['self'] for each, _ in walk_stack(frame) if each.f_code.co_name == '_try_get_data']  # PyTorch's
        batch = (id(loaders[0]), loaders[0]._num_yielded) if loaders else None
        if batch != self.awaited:  # in a validation too, where no step begins meanwhile
            self.awaited, self.waited = batch, 0.
        if batch is None:
            return
        self.read_queue()  # whose pipe may be full, so that the workers wait for us
        self.waited += self.tick
        if self.waited >= self.timeout:
            raise DataTimeout(f'data timeout after {self.timeout:g} s')

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch=None) -> None:
        # torch raises an error about a dead worker wherever the training process is, even between the weights' update and the
        # average's. Without its handler the loader itself notices, when it waits for the worker's batch.
        if callable(signal.getsignal(signal.SIGCHLD)):
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        self.waited = 0.
        if self.queue:
            self.read_queue()
            self.tell(runner)
            self.hear(runner)

    def read_queue(self) -> None:
        while self.queue and not self.queue.empty():
            self.read.append(self.queue.get())

    def tell(self, runner: Runner) -> None:
        """Tell all processes which images this one could not read, each once in a run."""
        me = str(get_rank())
        for index, reason in self.read:
            path = runner.path_of_image(index)
            if path not in self.told and self.store.compare_set(f'{BAD_IMAGES} {path}', '', me).decode() == me:
                self.store.set(f'{BAD_IMAGES} {self.store.add(BAD_IMAGES, 1)}', json.dumps([path, reason]))
            self.told.add(path)
        self.read.clear()

    def hear(self, runner: Runner) -> None:
        """Count and log what any process has told since the last step."""
        count, before = self.store.add(BAD_IMAGES, 0), self.heard
        while self.heard < count:
            self.heard += 1
            path, reason = json.loads(self.store.get(f'{BAD_IMAGES} {self.heard}'))
            self.known.append(path)
            runner.logger.warning(f'Image left out ({len(self.known)} so far, max_bad_images={self.max_bad_images}): {reason}')
        runner.message_hub.update_scalar(f'train/{BAD_IMAGES}', len(self.known))
        if self.heard > before and len(self.known) > self.max_bad_images:
            raise DataError(
                f'{len(self.known)} images cannot be read, the last {self.known[-1]!r}', f'max_bad_images={self.max_bad_images}',
                'repair them (tools/misc/verify_dataset.py lists them all), or allow more')


def is_training(runner: Runner, frame: FrameType) -> bool:
    """Whether a process is somewhere within the training of a runner."""
    owners = [each.f_locals.get('self') for each, _ in walk_stack(frame) if each.f_code.co_name in ('run', 'train')]
    return any(owner is runner or owner is runner.train_loop for owner in owners)


def shared_store(runner: Runner) -> dist.Store | None:
    """What the processes of a run share small facts by; None if there is one process."""
    return dist.distributed_c10d._get_default_store() if runner.distributed else None


def begin_worker(begin: Callable[[int], None] | None, worker: int) -> None:
    """Begin a loader's worker that outlives what a scheduler sends to the whole group, but not its training process."""
    for number in (signal.SIGUSR1, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)
    if hasattr(signal, 'sigwaitinfo'):  # which tells who sent a signal
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
        threading.Thread(target=leave_with, args=[os.getppid()], daemon=True).start()
    set_signal_of_parents_death(signal.SIGKILL)
    if begin is not None:
        begin(worker)


def leave_with(parent: int) -> None:
    """Wait for the SIGTERM by which a training process ends its workers."""
    while signal.sigwaitinfo([signal.SIGTERM]).si_pid != parent:
        pass
    os._exit(0)


def workers_of(error: Exception) -> list[BaseProcess]:
    return [worker for frame, _ in walk_tb(error.__traceback__) for worker in getattr(frame.f_locals.get('self'), '_workers', ())]


def dead(workers: list[BaseProcess]) -> dict[int, int]:
    """Pids and exit codes of those that are no more."""
    for worker in workers:
        with suppress(RuntimeError):  # by which PyTorch's handler of signals says just now that one has ended
            worker.join(0.1)  # it may be about to end
    return {worker.pid: worker.exitcode for worker in workers if worker.exitcode is not None}
