"""Parts of a config with their dotted keys: any dict in it, the data sets of its loaders, its metrics."""
from collections.abc import Iterator

from mmengine.config import Config

SPLITS = ('train', 'val', 'test')
FOLDERS = ('CustomDataset', 'ImageNet')  # mmpretrain's datasets of folders of images


def value_at(cfg: Config, key: str):
    """What the config has at a dotted key; None if it has nothing there."""
    value = cfg
    for part in key.split('.'):
        if isinstance(value, (list, tuple)):
            value = value[int(part)] if part.isdigit() else None
        else:
            value = value.get(part) if isinstance(value, (dict, Config)) else None
    return value


def dicts_in(config, key: str = '') -> Iterator[tuple[str, dict]]:
    """Dotted key and content of each dict inside a part of a config, which ``key`` is that of: '', or 'model.'."""
    for name, value in config.items() if isinstance(config, (dict, Config)) else enumerate(config):
        if isinstance(value, dict):
            yield f'{key}{name}', value
        if isinstance(value, (dict, list, tuple)):
            yield from dicts_in(value, f'{key}{name}.')


def loaders_of(cfg: Config, splits: tuple[str, ...] = SPLITS) -> dict[str, dict]:
    """Configs of the loaders that there are, by their keys."""
    return {key: cfg[key] for key in (f'{split}_dataloader' for split in splits) if cfg.get(key)}


def datasets_of(cfg: Config, splits: tuple[str, ...] = SPLITS) -> Iterator[tuple[str, dict]]:
    """Dotted key and config of each dataset of the loaders, of those inside wrappers too."""
    for key, loader in loaders_of(cfg, splits).items():
        yield from datasets_in(loader.get('dataset', {}), f'{key}.dataset')


def datasets_in(dataset: dict, key: str) -> Iterator[tuple[str, dict]]:
    """A dataset with its key, after those that it holds; one that wraps a single one is passed over if it has no pipeline."""
    if 'dataset' in dataset:
        yield from datasets_in(dataset['dataset'], f'{key}.dataset')
        if 'pipeline' not in dataset:
            return
    for i, part in enumerate(dataset.get('datasets', [])):
        yield from datasets_in(part, f'{key}.datasets.{i}')
    yield key, dataset


def steps_of(dataset: dict, key: str) -> Iterator[tuple[str, dict]]:
    """Dotted key and config of each transform of a dataset's pipeline, of those that others hold too."""
    return dicts_in(dataset.get('pipeline') or [], f'{key}.pipeline.')


def metrics_of(cfg: Config, split: str) -> Iterator[tuple[str, dict]]:
    """Dotted key and config of each metric of a split."""
    metrics, key = cfg.get(f'{split}_evaluator') or [], f'{split}_evaluator'
    listed = isinstance(metrics, (list, tuple))
    for i, metric in enumerate(metrics if listed else [metrics]):
        if isinstance(metric, dict):
            yield f'{key}.{i}' if listed else key, metric
