"""Images that cannot be read, and loader workers that die: told in the training process, between two steps."""
import atexit
import json
import signal
from multiprocessing.process import BaseProcess
from traceback import walk_stack, walk_tb
from types import FrameType

import torch.distributed as dist
from mmengine.dist import get_rank
from mmengine.hooks import Hook
from mmengine.runner import Runner

from nepa_mm.datasets import SeededDataset
from nepa_mm.errors import DataError
from nepa_mm.registry import HOOKS

from .signal_hook import is_training, shared_store

KEY = 'bad_images'  # in the message hub, and so in checkpoints: paths of those that were left out


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
        self.max_bad_images, self.timeout, self.waited = max_bad_images, timeout, 0.

    def before_train(self, runner: Runner) -> None:
        dataset = runner.train_dataloader.dataset
        self.queue = dataset.bad_images if isinstance(dataset, SeededDataset) else None
        if KEY not in runner.message_hub.runtime_info:
            runner.message_hub.update_info(KEY, [])
        self.known = runner.message_hub.get_info(KEY)
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
        """Look no more."""
        signal.setitimer(signal.ITIMER_REAL, 0.)
        signal.signal(signal.SIGALRM, self.previous)
        atexit.unregister(self.stop_timer)

    def look(self, number: int, frame: FrameType) -> None:
        """Look at times whether the process still waits for a batch: PyTorch's own time limit would hide a worker that died."""
        if not is_training(self.runner, frame):  # an error has ended it
            return self.stop_timer()
        if not any(each.f_code.co_name == '_try_get_data' for each, _ in walk_stack(frame)):  # of PyTorch's loader
            self.waited = 0.
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
        """Read what the workers have told."""
        while self.queue and not self.queue.empty():
            self.read.append(self.queue.get())

    def tell(self, runner: Runner) -> None:
        """Tell all processes which images this one could not read, each once in a run."""
        me = str(get_rank())
        for index, reason in self.read:
            path = runner.path_of_image(index)
            if path not in self.told and self.store.compare_set(f'{KEY} {path}', '', me).decode() == me:
                self.store.set(f'{KEY} {self.store.add(KEY, 1)}', json.dumps([path, reason]))
            self.told.add(path)
        self.read.clear()

    def hear(self, runner: Runner) -> None:
        """Count and log what any process has told since the last step."""
        count, before = self.store.add(KEY, 0), self.heard
        while self.heard < count:
            self.heard += 1
            path, reason = json.loads(self.store.get(f'{KEY} {self.heard}'))
            self.known.append(path)
            runner.logger.warning(f'Image left out ({len(self.known)} so far, max_bad_images={self.max_bad_images}): {reason}')
        runner.message_hub.update_scalar(f'train/{KEY}', len(self.known))
        if self.heard > before and len(self.known) > self.max_bad_images:
            raise DataError(
                f'{len(self.known)} images cannot be read, the last {self.known[-1]!r}', f'max_bad_images={self.max_bad_images}',
                'repair them (tools/misc/verify_dataset.py lists them all), or allow more')


def workers_of(error: Exception) -> list[BaseProcess]:
    """The workers of the loader in the traceback of an error."""
    return [worker for frame, _ in walk_tb(error.__traceback__) for worker in getattr(frame.f_locals.get('self'), '_workers', ())]


def dead(workers: list[BaseProcess]) -> dict[int, int]:
    """Pids and exit codes of those that are no more."""
    for worker in workers:
        worker.join(0.1)  # it may be about to end
    return {worker.pid: worker.exitcode for worker in workers if worker.exitcode is not None}
