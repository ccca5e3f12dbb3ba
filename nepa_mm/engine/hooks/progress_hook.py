"""A display of the run for whoever sits at the terminal; logs and pipes get mmengine's plain lines, as ever.

Drawing never waits for the device: of what stays there as tensors, the display shows what a log has read (log_later.py). It draws
from the hooks, in the main thread: a thread of its own could hold a lock while a loader forks its workers.
"""
import atexit
import re
import sys
import time
from logging import LogRecord
from pathlib import Path

import torch
from mmengine.dist import is_distributed
from mmengine.hooks import Hook, LoggerHook
from mmengine.runner import EpochBasedTrainLoop, Runner
from rich.console import Console
from rich.live import Live

from nepa_mm.registry import HOOKS
from nepa_mm.visualization.progress import Progress, panel

from .log_later import numbers_read

# Lines that say what the display shows; they still go into the log file.
SHOWN = re.compile(r'(Epoch|Iter)\((train|val|test)\).* eta: |Exp name: ')
FIRST = ('loss', 'cosine', 'collapse', 'grad_norm', 'lr')
APART = ('time', 'data_time', 'base_lr', 'memory')  # shown otherwise, or not
RECENT = 50  # steps that speed and waiting are means of


@HOOKS.register_module()
class ProgressHook(Hook):
    """Show progress, speed, the share of waiting for data, losses and collapse at the bottom of the terminal.

    Only where one process runs and its standard output is a terminal that can move its cursor. There lines that say the same are
    left to the log file, and all others scroll above the display. Elsewhere the hook does nothing.

    Losses are means of the last ``log_processor.window_size`` steps before the newest log. The time left counts validations as
    they have taken so far.

    Args:
        interval: Seconds between two drawings, at least.
        enable: Whether to draw at all.
    """
    priority = 'LOW'  # after LoggerHook, which reads the numbers
    on_terminal = None  # the hook whose display is there

    def __init__(self, interval: float = 0.5, enable: bool = True) -> None:
        self.interval, self.enable, self.next_drawing, self.live = interval, enable, 0., None

    def before_train(self, runner: Runner) -> None:
        """Show that training begins: its first step may take a while."""
        self.start(runner)
        self.began, self.first_step, self.first_done = time.monotonic(), runner.iter, None
        if self.live is not None:
            self.progress.steps, self.progress.step = runner.max_iters, runner.iter
            self.progress.epochs = runner.max_epochs if isinstance(runner.train_loop, EpochBasedTrainLoop) else None
            self.draw(runner)

    def after_train_iter(self, runner: Runner, batch_idx: int, data_batch=None, outputs: dict | None = None) -> None:
        self.first_done = self.first_done or time.monotonic()  # the first step, which may have compiled, says nothing of others
        if self.live is not None and (self.is_time() or runner.iter + 1 == runner.max_iters):
            self.progress.step = runner.iter + 1
            self.draw(runner)

    def _before_epoch(self, runner: Runner, mode: str = 'train') -> None:
        """Add a bar where a validation or a test begins."""
        if mode == 'train':
            return
        self.start(runner)
        if self.live is not None:
            self.progress.check = ('validation' if mode == 'val' else mode, 0, len(getattr(runner, f'{mode}_dataloader')))
            self.draw(runner)

    def after_val_iter(self, runner: Runner, batch_idx: int, data_batch=None, outputs=None) -> None:
        if self.live is not None and self.is_time():
            name, _, batches = self.progress.check
            self.progress.check = (name, batch_idx + 1, batches)
            self.draw(runner)

    def after_val_epoch(self, runner: Runner, metrics: dict | None = None) -> None:
        """Take the bar away while training; leave it full where there is nothing else."""
        if self.live is not None:
            name, _, batches = self.progress.check
            self.progress.check = (name, batches, batches) if self.progress.steps is None else None
            self.draw(runner)

    after_test_iter, after_test_epoch = after_val_iter, after_val_epoch

    def after_run(self, runner: Runner) -> None:
        self.stop()

    # The terminal

    def start(self, runner: Runner) -> None:
        """Take the bottom of the terminal, if there is one and it is not taken yet."""
        if not self.enable or self.live is not None or is_distributed() or not sys.stdout.isatty():
            return
        console = Console(soft_wrap=True)  # lines that scroll above stay as they are, paths in one piece
        if console.is_dumb_terminal:
            return
        if ProgressHook.on_terminal is not None:  # of a run in this process that ended in an error
            ProgressHook.on_terminal.stop()
        self.progress = Progress(title(runner.experiment_name, Path(runner.work_dir)),
                                 first_log=next((hook.interval for hook in runner.hooks if isinstance(hook, LoggerHook)), None))
        terminal = sys.stdout
        self.live = Live(console=console, auto_refresh=False, vertical_overflow='crop')
        self.live.start()  # sys.stdout and sys.stderr are rich's from here on, which write above the display
        console.show_cursor()  # or a run that is killed would leave the terminal without one
        self.handlers = [handler for handler in runner.logger.handlers if getattr(handler, 'stream', None) is terminal]
        for handler in self.handlers:
            handler.setStream(sys.stdout)
            handler.addFilter(is_news)
        ProgressHook.on_terminal = self
        atexit.register(self.stop)  # after a traceback

    def stop(self) -> None:
        """Leave the terminal to others."""
        if self.live is None:
            return
        live, self.live, ProgressHook.on_terminal = self.live, None, None
        try:
            live.stop()
        except OSError:  # the terminal is gone
            pass
        for handler in self.handlers:
            handler.setStream(sys.stdout)
            handler.removeFilter(is_news)
        atexit.unregister(self.stop)

    def is_time(self) -> bool:
        return time.monotonic() >= self.next_drawing

    def draw(self, runner: Runner) -> None:
        """Draw the state of the run. Training goes on when the terminal is gone."""
        if self.progress.steps is not None:
            self.look(runner)
        try:
            self.live.update(panel(self.progress), refresh=True)
        except OSError:
            self.stop()
        self.next_drawing = time.monotonic() + self.interval

    def look(self, runner: Runner) -> None:
        """Bring the state of a training up to date."""
        progress, now = self.progress, time.monotonic()
        progress.elapsed, progress.epoch = now - self.began, min(runner.epoch + 1, progress.epochs or sys.maxsize)
        done = progress.step - self.first_step - 1
        if self.first_done is not None and done > 0:
            progress.left = (now - self.first_done) / done * (progress.steps - progress.step)
        scalars = {key.removeprefix('train/'): buffer for key, buffer in runner.message_hub.log_scalars.items()
                   if key.startswith('train/')}
        if 'time' in scalars:
            progress.step_time = scalars['time'].mean(RECENT)  # the host's own numbers, for which nobody waits
            progress.waiting = scalars['data_time'].mean(RECENT) / max(progress.step_time, 1e-9)
        loop = runner.train_loop
        progress.images = getattr(loop, 'effective_batch', None) or loop.dataloader.batch_size  # None if they are of many sizes
        if torch.cuda.is_available():
            progress.memory = torch.cuda.max_memory_allocated() / 2**30
        progress.numbers = {}
        for key in sorted(set(scalars) - set(APART), key=lambda key: (FIRST.index(key) if key in FIRST else len(FIRST), key)):
            numbers = numbers_read(scalars[key])[-runner.log_processor.window_size:]
            if len(numbers):
                progress.numbers[key] = float(numbers[-1] if key.endswith('lr') else numbers.mean())


def title(experiment_name: str, work_dir: Path) -> str:
    """What runs and where: a folder below the current one by its path from there, which fits a line."""
    here = Path.cwd()
    return f'{experiment_name} in {work_dir.relative_to(here) if work_dir.is_relative_to(here) else work_dir}'


def is_news(record: LogRecord) -> bool:
    """Whether a line says more than the display does."""
    return SHOWN.match(record.getMessage()) is None
