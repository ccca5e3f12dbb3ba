"""What a resumed training takes from its checkpoint, what from its config, and what contradicts.

From the checkpoint: weights, averages, the optimizer's moments, what was logged, and the place in the data. From the config: all
else. mmengine takes the optimizer's settings and the schedules from the checkpoint too, whatever the config says by then.
"""
import math
from collections.abc import Iterator

from mmengine.hooks import EMAHook
from mmengine.optim import OptimWrapperDict
from mmengine.runner import EpochBasedTrainLoop, Runner

from nepa_mm.errors import CheckpointError, ConfigError

FROM_WEIGHTS = 'start a new training from its weights, with load_from'
DEFAULTS = {'optim_wrapper.type': 'OptimWrapper', 'optim_wrapper.constructor': 'DefaultOptimWrapperConstructor'}  # mmengine's
MOVES = {'params', 'last_step', '_global_step', '_last_value', 'base_values', 'verbose'}  # in the state of a group or a schedule


def settings_of(config, key: str) -> dict:
    """Dotted key and value of each setting inside a config, as a checkpoint can hold them; classes by their names."""
    if isinstance(config, dict):
        parts = config.items()
    elif isinstance(config, (list, tuple)) and any(isinstance(part, dict) for part in config):
        parts = enumerate(config)
    else:
        return {key: plain(config)}
    return {inner: value for name, part in parts for inner, value in settings_of(part, f'{key}.{name}').items()}


def plain(value):
    """A value made of numbers, texts and lists."""
    if isinstance(value, (list, tuple)):
        return [plain(part) for part in value]
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    return f'{value.__module__}.{value.__qualname__}' if hasattr(value, '__qualname__') else type(value).__qualname__


def changes_of(saved: dict, now: dict) -> list[str]:
    """``key: saved -> now`` of each that differs; what is not set is mmengine's default, or None."""
    pairs = {key: [facts.get(key, DEFAULTS.get(key)) for facts in (saved, now)] for key in {**saved, **now}}
    return [f'{key}: {before} -> {after}' for key, (before, after) in pairs.items() if not same(before, after)]


def same(one, other) -> bool:
    """Whether two settings are equal, but for the rounding of arithmetic in a config."""
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, float) and isinstance(other, (int, float)):
        return math.isclose(one, other, rel_tol=1e-12)
    return one == other


def by_name(state_or_schedules) -> dict:
    """What belongs to each optimizer, by its name; '' if there is one."""
    is_named = isinstance(state_or_schedules, dict) and 'param_groups' not in state_or_schedules
    return state_or_schedules if is_named else {'': state_or_schedules}


def schedules_of(runner: Runner) -> Iterator:
    for schedules in by_name(runner.param_schedulers or []).values():
        yield from schedules


def require_state(checkpoint: dict, runner: Runner, may_change: bool) -> None:
    """Refuse a checkpoint without what a training needs to go on.

    Args:
        checkpoint: What was loaded.
        runner: With the model, optimizer and schedules that its config asks for, at their beginning.
        may_change: Whether schedules may be built anew, and an average may begin.

    Raises:
        CheckpointError: If it lacks the optimizer or the schedules, or has those of another model.
        ConfigError: If its average would be taken for the weights.
    """
    where = runner._load_from
    lacks = [part for part, is_needed in (('optimizer', True), ('param_schedulers', runner.param_schedulers and not may_change))
             if is_needed and part not in checkpoint]
    if lacks:
        remedy = '' if 'optimizer' in lacks else 'build the schedules anew for its step, with --allow-resume-change, or '
        raise CheckpointError(f'it was saved without {" and ".join(lacks)}, so that no training can go on from it', where,
                              remedy + FROM_WEIGHTS)
    averages = any(isinstance(hook, EMAHook) for hook in runner.hooks)
    if 'ema_state_dict' in checkpoint and not averages:
        raise ConfigError('it holds an average of the weights, which without EMAHook would be taken for the weights', where,
                          'keep EMAHook in custom_hooks, or start a new training from raw:PATH, with load_from')
    if averages and 'ema_state_dict' not in checkpoint and not may_change:
        raise ConfigError('it holds no average of the weights, which EMAHook would go on with', where,
                          'take EMAHook away, or begin the average here: --allow-resume-change')
    built = by_name(runner.optim_wrapper.state_dict())
    sizes = [{name: [len(group['params']) for group in state['param_groups']] for name, state in states.items()}
             for states in (by_name(checkpoint['optimizer']), built)]
    if sizes[0] != sizes[1]:
        raise CheckpointError('its optimizer has other groups of parameters than that of the config', where,
                              f'keep optim_wrapper and what is frozen as they were, or {FROM_WEIGHTS}')


def state_changes(checkpoint: dict, runner: Runner) -> list[str]:
    """The same as :func:`changes_of`, of a checkpoint that tells no settings: by the states of optimizer and schedules."""
    found = {}
    built = by_name(runner.optim_wrapper.state_dict())
    for name, state in by_name(checkpoint['optimizer']).items():
        for i, (saved, now) in enumerate(zip(state['param_groups'], built[name]['param_groups'])):
            for key in (saved.keys() & now.keys()) - MOVES:
                if f'initial_{key}' not in saved and not same(plain(saved[key]), plain(now[key])):  # else a schedule moves it
                    label = f'{key.removeprefix("initial_")} of parameter group {".".join(filter(None, (name, str(i))))}'
                    found.setdefault(key, f'{label}: {saved[key]} -> {now[key]}')  # of many groups the first
    schedules = by_name(runner.param_schedulers or [])
    for name, states in by_name(checkpoint.get('param_schedulers', [])).items():
        for i, (saved, schedule) in enumerate(zip(states, schedules.get(name, []))):
            now = schedule.state_dict()
            # What others keep in a schedule may move, as what waits for a validation's result does.
            if type(schedule).__module__.split('.')[0] in ('mmengine', 'nepa_mm') and not hasattr(schedule, 'need_val_args'):
                keys = (saved.keys() & now.keys()) - MOVES
                label = '.'.join(filter(None, ('param_scheduler', name, str(i))))
                found.update((label + key, text) for key in keys for text in changes_of(
                    settings_of(saved[key], f'{label}.{key}'), settings_of(now[key], f'{label}.{key}')))
    return list(found.values())


def class_changes(checkpoint: dict, runner: Runner) -> list[str]:
    """The first class that has another name, of which mmengine only warns: the same label would mean another one from here on."""
    saved, now = ((meta or {}).get('classes') for meta in (
        checkpoint['meta'].get('dataset_meta'), getattr(runner.train_dataloader.dataset, 'metainfo', None)))
    if not saved or not now or list(saved) == list(now):
        return []
    label = next((i for i, pair in enumerate(zip(saved, now)) if pair[0] != pair[1]), min(len(saved), len(now)))
    names = [repr(classes[label]) if label < len(classes) else None for classes in (saved, now)]
    return [f'train_dataloader.dataset.metainfo.classes.{label}: {names[0]} -> {names[1]}']


def require_length(checkpoint: dict, runner: Runner) -> None:
    """Refuse a changed run that has nothing left to do, or that cannot go on with the state of its optimizer."""
    kind, saved, now = 'optim_wrapper.optimizer.type', runner.saved_facts, runner.settings
    if saved.get(kind, now.get(kind)) != now.get(kind):
        raise ConfigError(f'{now[kind]!r} cannot go on with the state of {saved[kind]!r}', kind, f'keep it, or {FROM_WEIGHTS}')
    is_epochs = isinstance(runner.train_loop, EpochBasedTrainLoop)
    length, done = (runner.max_epochs, checkpoint['meta']['epoch']) if is_epochs else (
        runner.max_iters, checkpoint['meta']['iter'])
    if done >= length:
        raise ConfigError(f'{length} is no more than the {done} that the checkpoint has done',
                          f'train_cfg.{"max_epochs" if is_epochs else "max_iters"}', 'train longer')


def apply_settings(checkpoint: dict, runner: Runner) -> None:
    """Write the config's settings into a checkpoint's state of optimizer and schedules, for mmengine to load.

    Args:
        checkpoint: What was loaded, which is changed.
        runner: With the optimizer and schedules that its config asks for, at their beginning.

    Raises:
        ConfigError: If nothing is left to do, or what is saved is of another optimizer, or the rates that a schedule has chosen
            depend on validations of the past.
    """
    require_length(checkpoint, runner)
    epochs, steps = runner.passed(checkpoint['meta']['epoch'], checkpoint['meta']['iter'])
    for schedule in schedules_of(runner):
        if hasattr(schedule, 'need_val_args'):
            raise ConfigError(f'{type(schedule).__name__} depends on past validations, and cannot be built anew for another run',
                              'param_scheduler', 'resume as it was, or ' + FROM_WEIGHTS)
        schedule.optimizer._global_step = 0  # or mmengine warns that the optimizer has not stepped yet
    for _ in range(epochs):
        step_schedules(runner, len(runner.train_dataloader))
        for schedule in schedules_of(runner):
            if schedule.by_epoch:
                schedule.step()
    step_schedules(runner, steps)
    saved, built = by_name(checkpoint['optimizer']), by_name(runner.optim_wrapper.state_dict())
    moved = {name: {**built[name], **state, **{key: built[name][key] for key in ('param_groups', 'base_param_settings')
                                               if key in built[name]}} for name, state in saved.items()}
    checkpoint['optimizer'] = moved if isinstance(runner.optim_wrapper, OptimWrapperDict) else moved['']
    if runner.param_schedulers:
        states = {name: [schedule.state_dict() for schedule in schedules]
                  for name, schedules in by_name(runner.param_schedulers).items()}
        checkpoint['param_schedulers'] = states if isinstance(runner.param_schedulers, dict) else states['']


def step_schedules(runner: Runner, steps: int) -> None:
    """Take the steps that mmengine's hook takes after so many iterations."""
    schedules = [schedule for schedule in schedules_of(runner) if not schedule.by_epoch]
    for _ in range(steps if schedules else 0):
        for schedule in schedules:
            schedule.step()
