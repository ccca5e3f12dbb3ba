"""Logged numbers that nobody waits for: tensors stay on the device until a log, a checkpoint or anybody else reads them.

mmengine asks each loss and the gradient norm for its number in each step, and so waits for the device several times a step. And
its buffers are copied whole for each number, which after 500,000 steps costs milliseconds a step.
"""
import numpy as np
import torch
from mmengine.hooks import RuntimeInfoHook
from mmengine.logging import HistoryBuffer, MessageHub
from mmengine.runner import Runner
from torch import Tensor

from nepa_mm.registry import HOOKS


class PatientBuffer(HistoryBuffer):
    """mmengine's buffer, which also takes tensors of one number and reads them all at once when it is read itself.

    It begins with what mmengine's own has logged so far; copies and pickles of it are mmengine's own again.
    """

    def __init__(self, buffer: HistoryBuffer) -> None:
        self.max_length = buffer.max_length
        self.waiting = []  # of (number or tensor, count)
        self.history, self.length = np.stack(buffer.data).astype(float), len(buffer.data[0])  # [2, room], numbers above counts

    def update(self, log_val: float | Tensor, count: int = 1) -> None:
        """Add a number, or a tensor of one, with the count that it stands for."""
        if isinstance(log_val, Tensor):
            log_val = log_val.detach().reshape(())  # the graph is not to be kept
        elif not isinstance(log_val, (int, float)):
            log_val = log_val.item()  # NumPy's
        self.waiting.append((log_val, count))
        if len(self.waiting) == 1000:  # nobody reads it; there is no need to fill the device
            self.settle()

    def settle(self) -> None:
        """Write down what is waiting; for tensors, wait for the device once."""
        if not self.waiting:
            return
        waiting, self.waiting = self.waiting, []
        tensors = [value for value, _ in waiting if isinstance(value, Tensor)]
        numbers = iter(torch.stack([t.to(tensors[0].device) for t in tensors]).tolist() if tensors else ())
        new = np.array([[next(numbers) if isinstance(value, Tensor) else value for value, _ in waiting],
                        [count for _, count in waiting]], dtype=float)
        end = self.length + new.shape[1]
        if end > self.history.shape[1]:  # twice the room, so that a number is copied once on average
            self.history = np.concatenate([self.history[:, :self.length], np.empty((2, end))], axis=1)
        self.history[:, self.length:end] = new
        self.length = end
        if end > self.max_length:
            self.history, self.length = self.history[:, end - self.max_length:end].copy(), self.max_length

    # The two arrays that all methods of mmengine's read

    @property
    def _log_history(self) -> np.ndarray:
        self.settle()
        return self.history[0, :self.length]

    @property
    def _count_history(self) -> np.ndarray:
        self.settle()
        return self.history[1, :self.length]

    def __reduce__(self) -> tuple:  # for pickle and deepcopy
        return HistoryBuffer, (*(part.copy() for part in self.data), self.max_length)


def log_later(message_hub: MessageHub, key: str, value: float | Tensor) -> None:
    """What ``message_hub.update_scalar`` does, without waiting for the number of a tensor."""
    buffer = message_hub.log_scalars.get(key)
    if buffer is None:
        message_hub.update_scalar(key, 0.)  # so that it knows the key as one to resume
        buffer = HistoryBuffer()
    if not isinstance(buffer, PatientBuffer):
        buffer = message_hub.log_scalars[key] = PatientBuffer(buffer)
    buffer.update(value)


def numbers_read(buffer: HistoryBuffer) -> np.ndarray:
    """Numbers of a buffer that are known without waiting for the device, oldest first: those that somebody has read."""
    return buffer.history[0, :buffer.length] if isinstance(buffer, PatientBuffer) else buffer.data[0]


@HOOKS.register_module()
class PatientRuntimeInfoHook(RuntimeInfoHook):
    """mmengine's hook, for ``default_hooks.runtime_info``, that logs the outputs of a step without waiting for them."""

    def after_train_iter(self, runner: Runner, batch_idx: int, data_batch=None, outputs: dict | None = None) -> None:
        """Log the outputs; times and rates, which other hooks log, get a buffer that is not copied for each number either."""
        hub = runner.message_hub
        for key, value in (outputs or {}).items():
            log_later(hub, f'train/{key}', value)
        for key, buffer in hub.log_scalars.items():
            if type(buffer) is HistoryBuffer and key.startswith('train/'):
                hub.log_scalars[key] = PatientBuffer(buffer)
