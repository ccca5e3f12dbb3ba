"""Faults at exactly one point of a training, from within its process: for ``before`` of :func:`runs.start`."""
import builtins
import importlib
import os
import signal
import threading
import time
from collections.abc import Callable
from itertools import count

saves = 0  # begun so far


def wrap(target: str, around: Callable) -> None:
    """Put ``around(function, *args, **kwargs)`` in place of 'module:name.name'."""
    module, path = target.split(':')
    owner = importlib.import_module(module)
    *owners, name = path.split('.')
    for each in owners:
        owner = getattr(owner, each)
    function = getattr(owner, name, None) or getattr(builtins, name)
    setattr(owner, name, lambda *args, **kwargs: around(function, *args, **kwargs))


def at(target: str, call: int = 1, *numbers: int, save: int = 0, after: bool = False, truncate: str = '') -> None:
    """Have the process send itself signals at a call of a function.

    Args:
        target: The function, 'module:name.name'.
        call: Which of its calls, from 1.
        *numbers: Signals; SIGKILL if none is given.
        save: Count calls since this save began, before the next one began; 0 counts all.
        after: Send them after the call, not before.
        truncate: Of this file, half is lost.
    """
    calls = count(1)

    def around(function, *args, **kwargs):
        now = saves == save and next(calls) == call if save else next(calls) == call
        if now and not after:
            strike()
        result = function(*args, **kwargs)
        if now and after:
            strike()
        return result

    def strike() -> None:
        if truncate:
            os.truncate(truncate, os.path.getsize(truncate) // 2)
        for number in numbers or [signal.SIGKILL]:
            os.kill(os.getpid(), number)

    wrap(target, around)


def hang(target: str, save: int, number: int = 0) -> None:
    """Have a function of a save not come back; send the process a signal after a while."""
    def around(function, *args, **kwargs):
        while saves == save:
            time.sleep(1)
            if number:
                os.kill(os.getpid(), number)
        return function(*args, **kwargs)

    wrap(target, around)


def at_step(step: int, target: str) -> None:
    """Have a function, which another thread calls, begin once the training has come to a step."""
    come = threading.Event()
    steps = count(1)

    def take(function, *args, **kwargs):
        if next(steps) == step:
            come.set()
        return function(*args, **kwargs)

    def wait(function, *args, **kwargs):
        assert come.wait(60)
        return function(*args, **kwargs)

    wrap('mmengine.optim:OptimWrapper.step', take)
    wrap(target, wait)


def count_save(write: Callable, *args, **kwargs) -> None:
    global saves
    saves += 1
    write(*args, **kwargs)


def slow_steps(seconds: float = 0.1) -> None:
    """Leave others time to send a signal."""
    def around(step: Callable, *args, **kwargs):
        time.sleep(seconds)
        return step(*args, **kwargs)

    wrap('mmengine.optim:OptimWrapper.step', around)
    wrap('mmpretrain.models:ImageClassifier.val_step', around)


wrap('nepa_mm.engine.runner.saving_runner:write_checkpoint', count_save)
wrap('nepa_mm.checkpoints.storage.sharded_saves:write_sharded', count_save)
