"""The moving average of weights that are shared out over processes."""
import torch
from mmengine.hooks import Hook
from mmengine.runner import FlexibleRunner

from nepa_mm.registry import HOOKS


@HOOKS.register_module()
class ShardedEMAHook(Hook):
    """``EMAHook`` for :class:`FSDPStrategy`: each process averages its shards, and a checkpoint has the same two sets of weights.

    mmengine's hook copies the model, which cannot be done once it is shared out. As there, ``state_dict`` of a checkpoint is the
    average and ``ema_state_dict`` the raw weights.

    Args:
        momentum: Share of the new weights in the average.
    """
    priority = 'ABOVE_NORMAL'

    def __init__(self, momentum: float = 0.0002) -> None:
        self.momentum, self.steps, self.average = momentum, 0, None

    def before_run(self, runner: FlexibleRunner) -> None:
        """Begin with the weights as they are, unless a checkpoint had an average."""
        if self.average is None:
            self.average = [value.detach().clone() for value in runner.model.parameters()]

    def after_train_iter(self, runner: FlexibleRunner, batch_idx: int, data_batch=None, outputs=None) -> None:
        """Average once more; the first time, as mmengine does, take the weights as they are."""
        weights = [value.detach() for value in runner.model.parameters()]
        if self.steps:
            torch._foreach_lerp_(self.average, weights, self.momentum)
        else:
            torch._foreach_copy_(self.average, weights)
        self.steps += 1

    def swap(self, runner: FlexibleRunner) -> None:
        """Exchange weights and average."""
        for average, value in zip(self.average, runner.model.parameters()):
            kept = value.detach().clone()
            value.data.copy_(average)
            average.copy_(kept)

    def before_save_checkpoint(self, runner: FlexibleRunner, checkpoint: dict) -> None:
        """Add the average, gathered from all processes; all of them come here."""
        self.swap(runner)
        average = runner.model.state_dict()
        self.swap(runner)
        raw = checkpoint['state_dict']
        checkpoint['ema_state_dict'] = {'steps': torch.tensor(self.steps), **{f'module.{name}': raw[name] for name in raw}}
        checkpoint['state_dict'] = average

    def after_load_checkpoint(self, runner: FlexibleRunner, checkpoint: dict) -> None:
        """Take the average of a training that is resumed, and leave its raw weights as those to be loaded."""
        if not runner._resume or 'ema_state_dict' not in checkpoint:
            return
        runner.strategy.load_model_state_dict(checkpoint['state_dict'])
        self.average = [value.detach().clone() for value in runner.strategy.model.parameters()]
        raw = dict(checkpoint.pop('ema_state_dict'))
        self.steps = int(raw.pop('steps'))
        checkpoint['state_dict'] = {name.removeprefix('module.'): value for name, value in raw.items()}
