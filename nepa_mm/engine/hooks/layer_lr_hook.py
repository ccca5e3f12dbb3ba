"""The learning rate of every layer, written down while it is used."""
import json
from pathlib import Path

from mmengine.dist import is_main_process
from mmengine.hooks import Hook, LoggerHook
from mmengine.runner import Runner

from nepa_mm.launch.work_dir import LAYER_LR
from nepa_mm.registry import HOOKS


@HOOKS.register_module()
class LayerLRHook(Hook):
    """Write the learning rate of every depth at each training step that is logged, one JSON line a step.

    mmengine logs the first parameter group's rate and the base rate. A line here is
    ``{"step": 100, "lr": {"head": 0.001, "0": 0.0009, "11": 0.00001}}``, of the depths that
    :class:`LayerDecayOptimWrapperConstructor` gives; "head" is there where ``paramwise_cfg.head_lr`` sets it apart. It is a file
    of its own because tools of the hosts take any line of ``scalars.json`` for a step or a validation. Without that constructor
    nothing is written. A file that cannot be written costs a warning.

    Args:
        enable: Whether to write at all.
    """
    priority = 'BELOW_NORMAL'  # as LoggerHook, and before the schedule goes on

    def __init__(self, enable: bool = True) -> None:
        self.enable = enable

    def before_train(self, runner: Runner) -> None:
        logger = next((hook for hook in runner.hooks if isinstance(hook, LoggerHook)), None)
        self.interval = logger.interval if self.enable and logger else None
        self.ignores_last = logger is None or logger.ignore_last
        self.path = Path(runner.log_dir, LAYER_LR)

    def after_train_iter(self, runner: Runner, batch_idx: int, data_batch=None, outputs: dict | None = None) -> None:
        if self.interval is None or not self.is_logged(runner, batch_idx) or not is_main_process():
            return
        rates = rates_by_depth(runner.optim_wrapper)
        if not rates:
            return
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with open(self.path, 'a') as file:
                file.write(json.dumps(dict(step=runner.iter + 1, lr=rates)) + '\n')
        except OSError as error:  # a full disk: no reason to end a training
            runner.logger.warning(f'{self.path} cannot be written ({error}); training goes on without it')
            self.interval = None

    def is_logged(self, runner: Runner, batch_idx: int) -> bool:
        """Whether LoggerHook logs the step: each so many, and the last of an epoch of fewer, or of any with ignore_last=False."""
        return self.every_n_inner_iters(batch_idx, self.interval) or (
            self.end_of_epoch(runner.train_dataloader, batch_idx)
            and (not self.ignores_last or len(runner.train_dataloader) <= self.interval))


def rates_by_depth(optim_wrapper) -> dict[str, float]:
    """Learning rate now by depth from the head, which comes first; nothing for groups without depth."""
    optimizer = getattr(optim_wrapper, 'optimizer', None)
    groups = [group for group in getattr(optimizer, 'param_groups', ()) if 'layer_depth' in group]
    rates = {}
    for group in sorted(groups, key=lambda group: group['layer_depth']):
        decayed = optimizer.defaults['lr'] * group['layer_decay_rate']**group['layer_depth']
        is_head = abs(group.get('initial_lr', group['lr']) - decayed) > 1e-9 * decayed
        rates['head' if is_head else str(group['layer_depth'])] = group['lr']
    return {**{key: rates[key] for key in ('head', ) if key in rates}, **rates}
