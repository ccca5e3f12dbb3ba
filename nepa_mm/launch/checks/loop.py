"""Whether training loop, sampler, schedules and hooks of a config fit together."""
from mmengine.config import Config

from nepa_mm.errors import ConfigError
from nepa_mm.hosts.type_names import name_of
from nepa_mm.launch.config_parts import SPLITS, dicts_in

COUNTS_EPOCHS = dict(EpochBasedTrainLoop=True, AccumulatingEpochLoop=True, IterBasedTrainLoop=False, AccumulatingIterLoop=False)


def check_loop(cfg: Config, splits: tuple[str, ...] = SPLITS) -> None:
    """Contradictions between the training loop and what counts its epochs or iterations.

    Raises:
        ConfigError: For an epoch that never ends, and for what a loop of iterations, which is one epoch long, would never come
            to: a schedule, a checkpoint, an average or a validation.
    """
    train_cfg = cfg.get('train_cfg') or {}
    kind = name_of(train_cfg)
    epochs = COUNTS_EPOCHS.get(kind) if kind else train_cfg.get('by_epoch')
    if 'train' not in splits or epochs is None:
        return
    sampler = (cfg.get('train_dataloader') or {}).get('sampler')
    if epochs and isinstance(sampler, dict) and name_of(sampler) == 'InfiniteSampler':
        raise ConfigError("'InfiniteSampler' never ends, and so the first epoch would not", 'train_dataloader.sampler.type',
                          "set 'DefaultSampler', or choose a train_cfg of iterations")
    length = train_cfg.get('max_epochs' if epochs else 'max_iters')
    begin = train_cfg.get('val_begin', 1)
    interval = train_cfg.get('val_interval', 1)
    if cfg.get('val_dataloader') and isinstance(interval, (int, float)) and interval < 1:
        raise ConfigError(f'{interval!r} is no number of 1 or more', 'train_cfg.val_interval',
                          'give one, or drop the validation: --no-validate')
    if cfg.get('val_dataloader') and isinstance(length, int) and isinstance(begin, int) and begin > length:
        raise ConfigError(f'{begin} is after the end of training, {length}: nothing would be validated', 'train_cfg.val_begin',
                          'lower it, or drop the validation: --no-validate')
    if not epochs:
        check_one_epoch(cfg)
    for i, hook in enumerate(cfg.get('custom_hooks') or []):
        key = 'begin_epoch' if epochs else 'begin_iter'
        if isinstance(hook, dict) and isinstance(length, int) and name_of(hook) == 'EMAHook' and hook.get(key, 0) > length:
            raise ConfigError(f'{hook[key]} is after the end of training, {length}', f'custom_hooks.{i}.{key}', 'lower it')


def check_one_epoch(cfg: Config) -> None:
    for key, schedule in dicts_in({'param_scheduler': cfg.get('param_scheduler') or []}):  # of several optimizers too
        moves = schedule.get('convert_to_iter_based') or 'Plateau' in name_of(schedule)  # this one counts validations
        if 'type' in schedule and schedule.get('by_epoch', True) and not moves:
            raise ConfigError(f'{name_of(schedule)} counts epochs, of which a loop of iterations has one: it would never move',
                              f'{key}.by_epoch', 'set by_epoch=False, with begin and end in iterations')
    hook = (cfg.get('default_hooks') or {}).get('checkpoint') or {}
    if hook.get('by_epoch', True) and hook.get('interval', -1) > 0:
        raise ConfigError('it counts epochs, of which a loop of iterations has one: nothing would be saved before the end',
                          'default_hooks.checkpoint.by_epoch', 'set by_epoch=False, with interval in iterations')
    for i, hook in enumerate(cfg.get('custom_hooks') or []):
        if isinstance(hook, dict) and name_of(hook) == 'EMAHook' and hook.get('begin_epoch', 0) > 1:
            raise ConfigError(f'{hook["begin_epoch"]} is never reached: a loop of iterations has one epoch',
                              f'custom_hooks.{i}.begin_epoch', 'set begin_iter')
