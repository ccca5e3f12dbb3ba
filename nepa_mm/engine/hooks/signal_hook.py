"""Leave a training that is asked to end, at the end of a step and with a checkpoint of it."""
import os
import signal
import threading
from collections.abc import Callable
from traceback import walk_stack
from types import FrameType

import torch.distributed as dist
from mmengine.hooks import Hook
from mmengine.runner import Runner
from torch.multiprocessing import _prctl_pr_set_pdeathsig as set_signal_of_parents_death  # does nothing where there is no prctl

from nepa_mm.engine.loops.effective_batch import StepMixin
from nepa_mm.errors import Stopped, end_at_once
from nepa_mm.registry import HOOKS

SIGNALS = (signal.SIGTERM, signal.SIGUSR1, signal.SIGINT)
KEY = 'nepa_mm/stop_after'


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
        self.received, self.previous, self.store, self.interrupts = None, {}, None, 0

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
        if self.previous and self.all_received(float('inf')):
            self.stop(runner, dict(epoch=runner.epoch, iter=runner.iter))

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
            self.store.compare_set(KEY, '', f'{step + 1 if step < float("inf") else 0} {self.received}')
        if not self.store.check([KEY]):
            return False
        last, number = map(int, self.store.get(KEY).split())
        self.received = number
        return step >= last

    def after_train(self, runner: Runner) -> None:
        for number, handler in self.previous.items():
            signal.signal(number, handler)
        self.previous = {}


def begin_worker(begin: Callable[[int], None] | None, worker: int) -> None:
    """Begin a loader's worker that outlives what a scheduler sends to the whole group, but not its training process.

    Args:
        begin: What else is to be done then.
        worker: Its number.
    """
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


def is_training(runner: Runner, frame: FrameType) -> bool:
    """Whether a process is somewhere within the training of a runner."""
    owners = [each.f_locals.get('self') for each, _ in walk_stack(frame) if each.f_code.co_name in ('run', 'train')]
    return any(owner is runner or owner is runner.train_loop for owner in owners)


def shared_store(runner: Runner) -> dist.Store | None:
    """What the processes of a run share small facts by; None if there is one process."""
    return dist.distributed_c10d._get_default_store() if runner.distributed else None
