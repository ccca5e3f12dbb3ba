"""The other side of a benchmark: another system's training step in a process, and Python, of its own.

Started by benchmark.py as ``python FILE SETTINGS``, SETTINGS being JSON. It answers in lines of JSON: first ``{"ready": ...}``,
what is timed and which versions; then to each line ``run N`` the seconds of N steps and the most memory they took. It needs torch
alone.
"""
import json
import os
import resource
import sys
import time
from collections.abc import Callable

import torch


class Worker:
    """Answers on the standard output that the process was started with; what libraries print goes to the standard error."""

    def __init__(self) -> None:
        self.answers = os.fdopen(os.dup(1), 'w', buffering=1)
        os.dup2(2, 1)
        self.settings = json.loads(sys.argv[1])
        self.device = torch.device('cuda' if torch.cuda.is_available() else 'cpu')

    def answer(self, **message) -> None:
        self.answers.write(json.dumps(message) + '\n')

    def stop(self, message: str) -> None:
        """End with one line about what is missing."""
        self.answer(error=' '.join(message.split()))
        sys.exit(2)

    def optimizer(self, groups: list) -> torch.optim.AdamW:
        return torch.optim.AdamW(groups, **self.settings['adamw'])

    def images(self) -> torch.Tensor:
        return torch.randn(self.settings['batch_size'], 3, *[self.settings['img_size']] * 2, device=self.device)

    def step(self, loss_of: Callable, model: torch.nn.Module, optimizer: torch.optim.Optimizer, images: torch.Tensor) -> None:
        """Forward under autocast (where the config has it), backward, clipping, AdamW, gradients set to None."""
        with torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=self.settings['amp']):
            loss = loss_of(images)
        loss.backward()
        if self.settings['max_norm']:
            torch.nn.utils.clip_grad_norm_(model.parameters(), self.settings['max_norm'])
        optimizer.step()
        model.zero_grad()

    def synchronize(self) -> None:
        if self.device.type == 'cuda':
            torch.cuda.synchronize()

    def serve(self, step: Callable, **ready) -> None:
        """Say what is there, and take steps as they are asked for."""
        self.answer(ready=dict(ready, torch=torch.__version__))
        for line in sys.stdin:
            count, clock = int(line.split()[1]), time.process_time if self.settings['clock'] == 'cpu' else time.perf_counter
            step()  # not timed: the allocator has given back what it had
            if self.device.type == 'cuda':
                torch.cuda.reset_peak_memory_stats()
            self.synchronize()
            begin = clock()
            for _ in range(count):
                step()
            self.synchronize()
            seconds, memory = clock() - begin, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
            if self.device.type == 'cuda':
                memory = torch.cuda.max_memory_allocated()
                torch.cuda.empty_cache()  # the other system's turn
            self.answer(seconds=seconds, memory=memory)
