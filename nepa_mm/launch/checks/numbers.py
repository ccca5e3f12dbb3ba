"""Numbers of a config: of loaders, schedule, hooks and model, and what they ask for."""
from mmengine.config import Config

from nepa_mm.errors import ConfigError
from nepa_mm.launch.config_parts import SPLITS, value_at

# Numbers that others would notice late or not at all: key, kind and least value
LEAST = (('optim_wrapper.optimizer.lr', (int, float), 0), ('train_cfg.max_epochs', int, 1), ('train_cfg.max_iters', int, 1),
         ('optim_wrapper.clip_grad.max_norm', (int, float), 0), ('randomness.seed', int, 0),
         ('default_hooks.checkpoint.interval', int, -1), ('default_hooks.checkpoint.max_keep_ckpts', int, -1),
         ('default_hooks.loader_faults.max_bad_images', int, 0), ('default_hooks.loader_faults.timeout', (int, float), 0))


def check_numbers(cfg: Config, splits: tuple[str, ...] = SPLITS) -> None:
    """Numbers of loaders, schedule and hooks; those of the model that contradict each other, or that others would not refuse."""
    loaders = [(f'{split}_dataloader.{name}', int, least) for split in splits
               for name, least in (('batch_size', 1), ('num_workers', 0))]
    for key, kinds, least in (*LEAST, *loaders):
        value = value_at(cfg, key)
        if value is not None and (not isinstance(value, kinds) or value < least):
            raise ConfigError(f'{value!r} is no {"whole " * (kinds is int)}number of {least} or more', key, 'give one')
    rate = value_at(cfg, 'model.backbone.drop_path_rate')
    if rate is not None and not (isinstance(rate, (int, float)) and 0 <= rate < 1):
        raise ConfigError(f'{rate!r} is not in [0, 1), the share of dropped last blocks', 'model.backbone.drop_path_rate',
                          'give a share, such as 0.1')
    head, expected = value_at(cfg, 'model.head.num_classes'), value_at(cfg, 'model.data_preprocessor.num_classes')
    if head is not None and expected is not None and head != expected:
        raise ConfigError(f'{head} differs from model.data_preprocessor.num_classes={expected}', 'model.head.num_classes',
                          'set both (and num_classes of model.train_cfg.augments) to that of the dataset')


def check_frozen(cfg: Config, splits: tuple[str, ...] = SPLITS) -> None:
    """Frozen weights must come from somewhere: those drawn at random would stay so, and nothing would say it."""
    frozen = value_at(cfg, 'model.backbone.frozen_stages')
    kind = value_at(cfg, 'model.backbone.type') or ''
    if kind.startswith('nepa_mm.') and isinstance(frozen, int) and frozen >= 0 and not (
            cfg.get('load_from') or cfg.get('resume') or value_at(cfg, 'model.backbone.init_cfg')):
        raise ConfigError(f'{frozen} freezes a patch embedding that no checkpoint gives', 'model.backbone.frozen_stages',
                          'set model.backbone.init_cfg or load_from, or train it: --cfg-options model.backbone.frozen_stages=-1')
