"""What begins and what ends each step: generators that are seeded, and zeros that stay zeros."""
from mmengine.dist import get_rank
from mmengine.hooks import Hook
from mmengine.optim import _ParamScheduler
from mmengine.runner import Runner

from nepa_mm.registry import HOOKS
from nepa_mm.seeding import seed_all


@HOOKS.register_module()
class StepSeedHook(Hook):
    """Seed the generators before each step from the run's seed, the step and the process: a resumed step draws the same.

    Drop path, masks, mixup and all else that is drawn in a training step is a function of them.
    """
    priority = 'VERY_HIGH'  # other hooks may draw

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch=None) -> None:
        seed_all('step', runner.seed, runner.iter, get_rank())


@HOOKS.register_module()
class KeepZerosHook(Hook):
    """Keep the weight decay and the learning rate of parameter groups at 0 where they begin at 0 and those of others do not.

    DINO and iBOT let weight decay rise from 0.04 to 0.4 along a cosine, and leave out biases and norms. mmengine's schedules
    towards a value of their own (``eta_min``, ``min_value``) move all groups, so that biases and norms would end at 0.4 as well,
    and what ``lr_mult=0`` keeps from learning would learn. Where all groups begin at 0 the schedule is meant for all.
    """
    priority = 75  # between ParamSchedulerHook and those that save

    def keep_zeros(self, runner: Runner, *args, **kwargs) -> None:
        """Set back what the schedules of one optimizer, or of several by name, moved away from a beginning of 0."""
        schedulers = runner.param_schedulers or []
        if isinstance(schedulers, dict):
            schedulers = [scheduler for of_one in schedulers.values() for scheduler in of_one]
        for scheduler in schedulers:
            if not isinstance(scheduler, _ParamScheduler):  # which a run that only validates leaves as configs
                continue
            if scheduler.param_name in ('lr', 'weight_decay') and any(scheduler.base_values):
                for begin, group in zip(scheduler.base_values, scheduler.optimizer.param_groups):
                    if begin == 0:
                        group[scheduler.param_name] = 0.

    # The first step of a run, resumed ones too; then schedules by step, by epoch, and those that follow a metric
    before_train = after_train_iter = after_train_epoch = after_val_epoch = keep_zeros
