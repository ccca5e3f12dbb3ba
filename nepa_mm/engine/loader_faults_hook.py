"""Images that cannot be read, and loader workers that die: told in the training process, between two steps."""
import signal
from types import FrameType

from mmengine.hooks import Hook
from mmengine.runner import Runner

from ..datasets import SeededDataset
from ..errors import DataError
from ..registry import HOOKS
from .signal_hook import shared_store

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
        if self.timeout:
            self.tick = min(5., self.timeout / 4)
            signal.signal(signal.SIGALRM, self.look)
            signal.setitimer(signal.ITIMER_REAL, self.tick, self.tick)

    def after_train(self, runner: Runner) -> None:
        signal.setitimer(signal.ITIMER_REAL, 0.)

    def look(self, number: int, frame: FrameType) -> None:
        """Look at times whether the process still waits for a batch: PyTorch's own time limit would hide a worker that died."""
        self.waited = self.waited + self.tick if waits_for_data(frame) else 0.
        if self.waited >= self.timeout:
            raise DataTimeout(f'data timeout after {self.timeout:g} s')

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch=None) -> None:
        # torch raises an error about a dead worker wherever the training process is, even between the weights' update and the
        # average's. Without its handler the loader itself notices, when it waits for the worker's batch.
        if callable(signal.getsignal(signal.SIGCHLD)):
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        self.waited = 0.
        dataset = runner.train_dataloader.dataset
        if isinstance(dataset, SeededDataset) and dataset.bad_images:
            self.count(runner, dataset)

    def count(self, runner: Runner, dataset: SeededDataset) -> None:
        """Take in what the workers have told."""
        if KEY not in runner.message_hub.runtime_info:
            runner.message_hub.update_info(KEY, [])
        known = runner.message_hub.get_info(KEY)
        while not dataset.bad_images.empty():
            index, said = dataset.bad_images.get()
            path = runner.path_of_image(index)
            if path in known:
                continue
            known.append(path)
            store = shared_store(runner)
            count = len(known) if store is None else store.add(KEY, 1)
            runner.logger.warning(f'Image left out ({count} so far, max_bad_images={self.max_bad_images}): {said}')
            if count > self.max_bad_images:
                raise DataError(f'{count} images cannot be read, the last {path!r}', f'max_bad_images={self.max_bad_images}',
                                'repair them (tools/misc/verify_dataset.py lists them all), or allow more')
        runner.message_hub.update_scalar(f'train/{KEY}', len(known))


def waits_for_data(frame: FrameType | None) -> bool:
    """Whether a process is where PyTorch's loader waits for its workers."""
    while frame is not None:
        if frame.f_code.co_name == '_try_get_data':
            return True
        frame = frame.f_back
    return False
