"""Whether the metrics of a config fit the model, the labels and each other, and the best checkpoint is chosen by one of them."""
from mmengine.config import Config

from nepa_mm.errors import ConfigError
from nepa_mm.hosts.type_names import name_of
from nepa_mm.launch.config_parts import SPLITS, metrics_of, value_at

LABELLED = ('Accuracy', 'SingleLabelMetric', 'MultiLabelMetric', 'AveragePrecision', 'ConfusionMatrix', 'VOCMultiLabelMetric')
UNLABELLED = 'tools/inference/classify_images.py IMAGES CHECKPOINT --out classes.csv is for images without labels'
OF_AREAS = dict(mIoU=('mIoU', 'mAcc'), mDice=('mDice', 'mAcc'), mFscore=('mFscore', 'mPrecision', 'mRecall'))  # of mmseg


def check_metrics(cfg: Config, splits: tuple[str, ...] = SPLITS) -> None:
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
        prefixes = {}
        for key, metric in metrics:
            prefix = metric.get('prefix')
            if name_of(metric) in ('IoUMetric', 'ExactIoUMetric') and prefixes.setdefault(prefix, key) != key:
                raise ConfigError(f'{prefix!r} is that of {prefixes[prefix]} too, and both report aAcc', f'{key}.prefix',
                                  "give each its own, or name both in one metric: iou_metrics=['mIoU', 'mFscore']")
        for key, metric in metrics:
            if metric.get('format_only') and name_of(metric) in LABELLED:
                raise ConfigError(f'True is for label maps, and {name_of(metric)} compares classes with labels',
                                  f'{key}.format_only', f'leave it out; {UNLABELLED}')
        known = [(key, metric) for key, metric in metrics if name_of(metric) in LABELLED]
        for key, metric in known:
            if name_of(metric) == 'Accuracy' and isinstance(classes, int):
                check_topk(metric.get('topk', 1), f'{key}.topk', classes)
        dataset = (cfg.get(f'{split}_dataloader') or {}).get('dataset') or {}
        unlabelled = 'split' if name_of(dataset) == 'ImageNet' and dataset.get('split') == 'test' else 'with_label'
        if known and (unlabelled == 'split' or dataset.get('with_label') is False):
            raise ConfigError(f'{name_of(known[0][1])} needs labels, which these images have not',
                              f'{split}_dataloader.dataset.{unlabelled}',
                              f'give labelled ones; {UNLABELLED}')


def check_topk(topk: int | tuple, key: str, classes: int) -> None:
    """No more of the best than there are classes."""
    most = max(listed(topk), default=topk)
    if isinstance(most, int) and most > classes:
        raise ConfigError(f'{topk}: there are no {most} best of {classes} classes', key, f'lower it: --cfg-options {key}=1')


def check_best(cfg: Config, splits: tuple[str, ...] = SPLITS) -> None:
    """The best checkpoint is chosen by what the validation reports; code of others may report more than can be told here."""
    hook = value_at(cfg, 'default_hooks.checkpoint')
    best = hook.get('save_best') if isinstance(hook, dict) else None
    names = reported(cfg) if best and 'val' in splits and cfg.get('val_dataloader') else None
    for name in [best] if isinstance(best, str) else best or ():
        if names and name not in ('auto', *names):
            raise ConfigError(f'{name!r} is no metric of the validation, which has {sorted(names)}',
                              'default_hooks.checkpoint.save_best', 'name one of them, or set it to None')


def reported(cfg: Config) -> set[str] | None:
    """Names that a validation reports; None if they are not certain."""
    if value_at(cfg, 'val_cfg.type') not in (None, 'ValLoop', 'nepa_mm.FeatureValLoop') or value_at(
            cfg, 'custom_imports.imports') not in (None, 'nepa_mm', ['nepa_mm']):
        return None
    for hook in cfg.get('custom_hooks') or []:
        if not isinstance(hook, dict) or not (name_of(hook) == 'EMAHook' or str(hook.get('type')).startswith('nepa_mm.')):
            return None
    found = set()
    for _, metric in metrics_of(cfg, 'val'):
        names = names_of(metric, cfg.get('default_scope'))
        if names is None:
            return None
        found |= names
    return found


def names_of(metric: dict, scope: str | None) -> set[str] | None:
    """Names that a metric reports, with its prefix; None of one that is not known, or has options that make other names."""
    kind, default, areas = str(metric.get('type')), '', listed(metric.get('iou_metrics', 'mIoU'))
    kind = kind if '.' in kind else f'{scope}.{kind}'
    if kind == 'mmpretrain.Accuracy' and isinstance(metric.get('thrs', 0.), float):
        default, names = 'accuracy', {'top1', *(f'top{k}' for k in listed(metric.get('topk', 1)))}
    elif kind == 'nepa_mm.KNNAccuracy':
        default, names = 'knn', {f'top1_k{k}' for k in listed(metric.get('k', 20))}
    elif kind in ('mmseg.IoUMetric', 'nepa_mm.ExactIoUMetric') and OF_AREAS.keys() >= set(areas):
        names = {'aAcc', *(name for area in areas for name in OF_AREAS[area])}
    else:
        return None
    prefix = metric.get('prefix') or default
    return {f'{prefix}/{name}' if prefix else name for name in names}


def listed(value) -> list:
    return list(value) if isinstance(value, (list, tuple)) else [value]
