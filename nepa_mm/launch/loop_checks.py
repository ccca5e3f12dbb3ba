"""Whether loop, sampler, schedules, hooks and metrics of a config fit together, before anything is built."""
from collections.abc import Iterator

from mmengine.config import Config

from nepa_mm.errors import ConfigError

from .config_keys import parts_of

LABELLED = ('Accuracy', 'SingleLabelMetric', 'MultiLabelMetric', 'AveragePrecision', 'ConfusionMatrix', 'VOCMultiLabelMetric')


def name_of(config: dict) -> str:
    """Name of the class that a config builds, without its scope."""
    kind = config.get('type') or ''
    return getattr(kind, '__name__', str(kind)).split('.')[-1]


def counts_epochs(train_cfg: dict) -> bool | None:
    """Whether a training loop counts epochs; None of one that is not known."""
    kind = name_of(train_cfg)
    if not kind:
        return train_cfg.get('by_epoch')
    return {'EpochBasedTrainLoop': True, 'AccumulatingEpochLoop': True, 'IterBasedTrainLoop': False,
            'AccumulatingIterLoop': False}.get(kind)


def check_loop(cfg: Config) -> None:
    """Contradictions between the training loop and what counts its epochs or iterations.

    Raises:
        ConfigError: For an epoch that never ends, and for what a loop of iterations, which is one epoch long, would never come
            to: a schedule, a checkpoint, an average or a validation.
    """
    train_cfg = cfg.get('train_cfg') or {}
    epochs = counts_epochs(train_cfg)
    if epochs is None:
        return
    sampler = (cfg.get('train_dataloader') or {}).get('sampler')
    if epochs and isinstance(sampler, dict) and name_of(sampler) == 'InfiniteSampler':
        raise ConfigError("'InfiniteSampler' never ends, and so the first epoch would not", 'train_dataloader.sampler.type',
                          "set 'DefaultSampler', or choose a train_cfg of iterations")
    length = train_cfg.get('max_epochs' if epochs else 'max_iters')
    begin = train_cfg.get('val_begin', 1)
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
    """What counts epochs in a loop of iterations."""
    for key, schedule in schedules_in(cfg):
        # One that waits for a validation counts these.
        if schedule.get('by_epoch', True) and not (schedule.get('convert_to_iter_based') or 'Plateau' in name_of(schedule)):
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


def schedules_in(cfg: Config) -> Iterator[tuple[str, dict]]:
    """Dotted key and config of each schedule, of several optimizers' too."""
    for key, part in parts_of({'param_scheduler': cfg.get('param_scheduler') or []}):
        if 'type' in part:
            yield key, part


def check_metrics(cfg: Config, splits: tuple[str, ...]) -> None:
    """Metrics that a validation or a test would end in.

    Raises:
        ConfigError: For the best k of fewer classes, images without labels, and two metrics that report under one name.
    """
    model = cfg.get('model') or {}
    head = (model.get('module') or model).get('head') or {}  # as --tta wraps it
    classes = head.get('num_classes') if isinstance(head, dict) else None
    if isinstance(classes, int) and head.get('cal_acc'):
        check_topk(head.get('topk', 1), 'model.head.topk', classes)
    for split in splits:
        metrics = list(metrics_of(cfg, split))
        check_names(metrics)
        known = [(key, metric) for key, metric in metrics if name_of(metric) in LABELLED]
        for key, metric in known:
            if name_of(metric) == 'Accuracy' and isinstance(classes, int):
                check_topk(metric.get('topk', 1), f'{key}.topk', classes)
        dataset = (cfg.get(f'{split}_dataloader') or {}).get('dataset') or {}
        unlabelled = 'split' if name_of(dataset) == 'ImageNet' and dataset.get('split') == 'test' else 'with_label'
        if known and (unlabelled == 'split' or dataset.get('with_label') is False):
            raise ConfigError(f'{name_of(known[0][1])} needs labels, which these images have not',
                              f'{split}_dataloader.dataset.{unlabelled}',
                              'give labelled ones; tools/inference/classify_images.py names the classes of others')


def metrics_of(cfg: Config, split: str) -> Iterator[tuple[str, dict]]:
    """Dotted key and config of each metric of a split."""
    metrics, key = cfg.get(f'{split}_evaluator') or [], f'{split}_evaluator'
    listed = isinstance(metrics, (list, tuple))
    for i, metric in enumerate(metrics if listed else [metrics]):
        if isinstance(metric, dict):
            yield f'{key}.{i}' if listed else key, metric


def check_names(metrics: list[tuple[str, dict]]) -> None:
    """Metrics of segmentation all report ``aAcc``, so two of them need prefixes that differ."""
    prefixes = {}
    for key, metric in metrics:
        prefix = metric.get('prefix')
        if name_of(metric) in ('IoUMetric', 'ExactIoUMetric') and prefixes.setdefault(prefix, key) != key:
            raise ConfigError(f'{prefix!r} is that of {prefixes[prefix]} too, and both report aAcc', f'{key}.prefix',
                              "give each its own, or name both in one metric: iou_metrics=['mIoU', 'mFscore']")


def check_topk(topk: int | tuple, key: str, classes: int) -> None:
    """No more of the best than there are classes."""
    most = max(topk) if isinstance(topk, (list, tuple)) and topk else topk
    if isinstance(most, int) and most > classes:
        raise ConfigError(f'{topk}: there are no {most} best of {classes} classes', key, f'lower it: --cfg-options {key}=1')
