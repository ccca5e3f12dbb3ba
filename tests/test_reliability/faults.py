"""Faults that a training config can ask for, and a record of what the model saw until then: PYTHONPATH holds this folder."""
import hashlib
import json
import os
import signal
import time
from pathlib import Path

import torch
from mmcv.transforms import BaseTransform
from mmengine.dist import get_rank
from mmengine.hooks import Hook
from mmengine.registry import HOOKS, TRANSFORMS

from nepa_mm.models.fit_model import unwrapped

KINDS = {
    'loss nan': lambda loss: loss * float('nan'),
    'loss inf': lambda loss: loss + float('inf'),  # the gradient stays what it is
}


@HOOKS.register_module()
class Fault(Hook):
    """Spoil a step of one process: its loss, the gradient of its last parameter, or the length of that gradient.

    Before that step, write down what the work dir holds (``before.json``), and in it the images that the model sees
    (``seen_R.json``).
    """
    priority = 'LOW'

    def __init__(self, kind: str, step: int, rank: int = 0) -> None:
        self.kind, self.step, self.rank = kind, step, rank

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        if runner.iter + 1 != self.step:
            return
        if get_rank() == 0:
            runner.saves.wait()  # what is being written while the training goes on
            content = {path.name: digest(path) for path in Path(runner.work_dir).glob('*.pth')}
            Path(runner.work_dir, 'before.json').write_text(json.dumps(content))
        model, seen = unwrapped(runner.model), []
        loss, spoils = model.loss, get_rank() == self.rank

        def spoiled(inputs, data_samples, **kwargs):
            seen.extend(sample.img_path for sample in data_samples)
            Path(runner.work_dir, f'seen_{get_rank()}.json').write_text(json.dumps(seen))
            losses = loss(inputs, data_samples, **kwargs)
            if spoils and self.kind in KINDS:
                losses['loss'] = KINDS[self.kind](losses['loss'])
            return losses

        model.loss = spoiled
        if spoils and self.kind not in KINDS:
            factor = dict(zip(('gradient nan', 'gradient long'), (float('nan'), 1e9)))[self.kind]
            list(model.parameters())[-1].register_hook(lambda gradient: gradient * factor)


class BadGradient(torch.autograd.Function):
    """What it is given; its gradient is no number."""

    @staticmethod
    def forward(ctx, value):
        return value.view_as(value)

    @staticmethod
    def backward(ctx, gradient):
        return gradient * float('nan')


@HOOKS.register_module()
class FaultInside(Hook):
    """Spoil a step of one process within a module: a weight of it that is infinite, or a gradient behind it that is no number."""

    def __init__(self, kind: str, module: str, step: int, rank: int = 0) -> None:
        self.kind, self.module, self.step, self.rank = kind, module, step, rank

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        if (runner.iter + 1, get_rank()) != (self.step, self.rank):
            return
        module = unwrapped(runner.model).get_submodule(self.module)
        if self.kind == 'weight':
            module.weight.data.view(-1)[0] = float('inf')
        else:
            module.register_forward_hook(lambda module, args, output: BadGradient.apply(output))


@TRANSFORMS.register_module()
class NotANumber(BaseTransform):
    """Spoil the pixels of one image."""

    def __init__(self, image: str) -> None:
        self.image = image

    def transform(self, results):
        if results['img_path'].endswith(self.image):
            results['img'][0] = float('nan')
        return results


@HOOKS.register_module()
class Signal(Hook):
    """Send a signal to one process itself, before a step, the first time that it comes there; ``marker`` tells several apart."""

    def __init__(self, number: int, step: int, rank: int, marker: str = 'signalled') -> None:
        self.number, self.step, self.rank, self.marker = number, step, rank, marker

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        if (runner.iter + 1, get_rank()) == (self.step, self.rank) and is_first(Path(runner.work_dir, self.marker)):
            os.kill(os.getpid(), self.number)


@HOOKS.register_module()
class SaveAtOnce(Hook):
    """Save what the training begins from under a name, and leave."""
    priority = 'LOWEST'

    def __init__(self, name: str) -> None:
        self.name = name

    def before_train(self, runner):
        runner.save_checkpoint(runner.work_dir, self.name, meta=dict(epoch=runner.epoch, iter=runner.iter), by_epoch=False)
        raise SystemExit(0)


@HOOKS.register_module()
class Sleep(Hook):
    """Sleep in one process before a step, longer than any test."""

    def __init__(self, step: int, rank: int) -> None:
        self.step, self.rank = step, rank

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        if (runner.iter + 1, get_rank()) == (self.step, self.rank):
            time.sleep(600)


@HOOKS.register_module()
class Bug(Hook):
    """Raise what is no user's to mend, in one process before a step."""

    def __init__(self, step: int, rank: int) -> None:
        self.step, self.rank = step, rank

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        assert (runner.iter + 1, get_rank()) != (self.step, self.rank), 'a bug in a hook'


@TRANSFORMS.register_module()
class Trouble(BaseTransform):
    """Kill the worker, or hang, when an image is loaded for the second time."""

    def __init__(self, kind: str, image: str, folder: str) -> None:
        self.kind, self.image, self.folder = kind, image, Path(folder)

    def transform(self, results):
        if results['img_path'].endswith(self.image) and not is_first(self.folder / 'once') and is_first(self.folder / 'twice'):
            if self.kind == 'kill':
                os.kill(os.getpid(), signal.SIGKILL)
            while True:
                time.sleep(60)
        return results


@HOOKS.register_module()
class Record(Hook):
    """Write down the gradient of the first step, and the images that the model sees in the first epoch."""

    def before_train(self, runner):
        model, seen, rank = unwrapped(runner.model), [], get_rank()
        loss, gradients = model.loss, Path(runner.work_dir, f'gradients_{rank}.pth')

        def recorded(inputs, data_samples, **kwargs):
            if runner.epoch == 0:
                seen.extend(sample.img_path for sample in data_samples)
                Path(runner.work_dir, f'seen_{rank}.json').write_text(json.dumps(seen))
            return loss(inputs, data_samples, **kwargs)

        def save(*_):
            if is_first(gradients):
                torch.save({name: value.grad for name, value in model.named_parameters()}, gradients)

        model.loss = recorded
        runner.optim_wrapper.optimizer.register_step_pre_hook(save)


def is_first(marker: Path) -> bool:
    """Whether nobody has asked so far."""
    if marker.exists():
        return False
    marker.touch()
    return True


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
