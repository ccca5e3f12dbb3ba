"""Where the time of a training step goes: data, forward, backward, optimizer, average, and the rest."""
import time
from collections import defaultdict
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from unittest import mock

import torch

from .training_step import TrainingStep


class Stopwatch:
    """Sums of times by name: of CUDA events, which wait for nothing, or of the clock where there is no GPU."""

    def __init__(self) -> None:
        self.on_gpu, self.marks = torch.cuda.is_available(), defaultdict(list)

    def now(self):
        if not self.on_gpu:
            return time.perf_counter()
        event = torch.cuda.Event(enable_timing=True)
        event.record()
        return event

    def around(self, name: str, function: Callable) -> Callable:
        """The function, timed under a name."""

        def timed(*args, **kwargs):
            begin = self.now()
            try:
                return function(*args, **kwargs)
            finally:
                self.marks[name].append((begin, self.now()))

        return timed

    def seconds(self) -> dict[str, float]:
        if not self.on_gpu:
            return {name: sum(end - begin for begin, end in marks) for name, marks in self.marks.items()}
        torch.cuda.synchronize()
        return {name: sum(begin.elapsed_time(end) for begin, end in marks) / 1000 for name, marks in self.marks.items()}


def time_by_part(step: TrainingStep, steps: int) -> dict[str, float]:
    """Seconds of one step by part, in a pass of its own; 'other' is what no part accounts for.

    'data' is the copy to the device and the normalisation, 'optimizer' clipping, update and the gradients' reset, 'EMA' what
    follows the step.
    """
    watch, model, optim_wrapper = Stopwatch(), step.model, step.optim_wrapper
    parts = {'data': (model.data_preprocessor, 'forward'), 'forward': (model, '_run_forward'),
             'backward': (optim_wrapper, 'backward'), 'optimizer': (optim_wrapper, 'step'), 'reset': (optim_wrapper, 'zero_grad')}
    with ExitStack() as stack:
        for name, (owner, method) in parts.items():
            stack.enter_context(mock.patch.object(owner, method, watch.around(name, getattr(owner, method))))
        whole = watch.around('whole', replace(step, after=[watch.around('EMA', run) for run in step.after]))
        for _ in range(steps):
            whole()
    seconds = {name: total / steps for name, total in watch.seconds().items()}
    whole = seconds.pop('whole')
    seconds['optimizer'] = seconds.get('optimizer', 0) + seconds.pop('reset', 0)
    ordered = {name: seconds.get(name, 0.) for name in ('data', 'forward', 'backward', 'optimizer', 'EMA')}
    return {**ordered, 'other': whole - sum(ordered.values())}
