"""Parameter groups that take no weight decay, or do not learn, whatever a schedule says."""
from mmengine.hooks import Hook
from mmengine.optim import _ParamScheduler
from mmengine.runner import Runner

from nepa_mm.registry import HOOKS


@HOOKS.register_module()
class KeepZerosHook(Hook):
    """Keep the weight decay and the learning rate of parameter groups at 0 where they begin at 0 and those of others do not.

    DINO and iBOT let weight decay rise from 0.04 to 0.4 along a cosine, and leave out biases and norms. mmengine's schedules
    towards a value of their own (``eta_min``, ``min_value``) move all groups, so that biases and norms would end at 0.4 as well,
    and what ``lr_mult=0`` keeps from learning would learn. Where all groups begin at 0 the schedule is meant for all.
    """
    priority = 75  # between ParamSchedulerHook and those that save

    def before_train(self, runner: Runner) -> None:
        """The first step of a run, resumed ones too."""
        keep_zeros(runner.param_schedulers)

    def after_train_iter(self, runner: Runner, batch_idx: int, data_batch=None, outputs: dict | None = None) -> None:
        """Schedules by step."""
        keep_zeros(runner.param_schedulers)

    def after_train_epoch(self, runner: Runner) -> None:
        """Schedules by epoch."""
        keep_zeros(runner.param_schedulers)

    def after_val_epoch(self, runner: Runner, metrics: dict | None = None) -> None:
        """Schedules that follow a metric."""
        keep_zeros(runner.param_schedulers)


def keep_zeros(schedulers: list | dict | None) -> None:
    """Set back what schedulers, or lists of them by optimizer, moved away from a beginning of 0."""
    if isinstance(schedulers, dict):
        schedulers = [scheduler for of_one in schedulers.values() for scheduler in of_one]
    for scheduler in schedulers or ():
        if not isinstance(scheduler, _ParamScheduler):  # which a run that only validates leaves as configs
            continue
        if scheduler.param_name in ('lr', 'weight_decay') and any(scheduler.base_values):
            for begin, group in zip(scheduler.base_values, scheduler.optimizer.param_groups):
                if begin == 0:
                    group[scheduler.param_name] = 0.
