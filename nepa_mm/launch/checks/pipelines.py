"""Whether what a step of a pipeline leaves to others is done there: decoding to the next step, timm's pixels to the device.

And whether the model takes the channels that a loader gives.
"""
from mmengine.config import Config

from nepa_mm.errors import ConfigError
from nepa_mm.hosts.type_names import name_of
from nepa_mm.launch.config_parts import SPLITS, datasets_of, steps_of

DEFAULTS = dict(mean=((0.485, 0.456, 0.406), (0.5, ) * 3), std=((0.229, 0.224, 0.225), (0.5, ) * 3))  # timm's, the preprocessor's
TAKE_ENCODED = ('RandomResizedCropFlip', 'TimmTransform', 'RandomCrop', 'CutWindow')  # they decode no more than their crop
LOADERS = ('LoadImage', 'LoadSegAnnotations')


def check_decoding(cfg: Config, splits: tuple[str, ...] = SPLITS) -> None:
    """Loaders with ``whole=False`` must stand before a transform that takes an :class:`EncodedJpeg` or :class:`TiffWindows`.

    Raises:
        ConfigError: If they do not.
    """
    for key, dataset in datasets_of(cfg, splits):
        steps = list(steps_of(dataset, key))
        for i, (place, step) in enumerate(steps):
            if name_of(step) not in LOADERS or step.get('whole', True):
                continue
            following = next((other for _, other in steps[i + 1:] if name_of(other) not in LOADERS), {})
            takes = name_of(following) in TAKE_ENCODED and following['type'] not in ('RandomCrop', 'mmpretrain.RandomCrop')
            if not takes:
                what = 'images' if name_of(step) == 'LoadImage' else 'label maps'
                raise ConfigError(f'False leaves {what} encoded, which {name_of(following) or "nothing"} does not take',
                                  f'{place}.whole', f'set whole=True, or let nepa_mm.{" or nepa_mm.".join(TAKE_ENCODED)} follow')


def check_channels(cfg: Config, splits: tuple[str, ...] = SPLITS) -> None:
    """Images that are not RGB need a backbone of their channels, as many means, and no swap.

    Raises:
        ConfigError: If something else is there, which would fail in the first step, or see bands in another order in silence.
    """
    model = cfg.get('model') or {}
    backbone, preprocessor = model.get('backbone') or {}, model.get('data_preprocessor') or cfg.get('data_preprocessor') or {}
    for key, dataset in datasets_of(cfg, splits):
        for place, step in steps_of(dataset, key):
            channels = step.get('channels') if name_of(step) == 'LoadImage' else None
            if channels is None:
                continue
            said, remedy = f', and {place}.channels is {channels}', 'set all to the channels of the images'
            if name_of(backbone) == 'NEPAViT' and backbone.get('in_channels', 3) != channels:
                raise ConfigError(f'{backbone.get("in_channels", 3)}{said}', 'model.backbone.in_channels', remedy)
            for name in ('mean', 'std'):
                if preprocessor.get(name) is not None and len(preprocessor[name]) not in (1, channels):
                    raise ConfigError(f'{len(preprocessor[name])} numbers{said}', f'model.data_preprocessor.{name}', remedy)
            for name in ('to_rgb', 'bgr_to_rgb', 'rgb_to_bgr'):
                if preprocessor.get(name) and channels > 1:
                    raise ConfigError(f'True swaps channels{said}, in the order of the files', f'model.data_preprocessor.{name}',
                                      'set it to False')


def check_timm_pixels(cfg: Config, splits: tuple[str, ...] = SPLITS) -> None:
    """The steps after a ``TimmTransform`` with ``on_device``: without them bytes would go on as floats, or nothing be erased.

    Raises:
        ConfigError: For another ``data_preprocessor``, another mean or std than its own, or what would lose the erased patches.
    """
    model = cfg.get('model') or {}
    preprocessor, place = (model.get('data_preprocessor'), 'model.data_preprocessor') if model.get('data_preprocessor') else (
        cfg.get('data_preprocessor') or {}, 'data_preprocessor')
    for dataset_key, dataset in datasets_of(cfg, splits):
        steps = list(steps_of(dataset, dataset_key))
        for i, (key, step) in enumerate(steps):
            if name_of(step) != 'TimmTransform' or not step.get('on_device'):
                continue
            if name_of(preprocessor) != 'TimmDataPreprocessor' or preprocessor.get('mean') is not None:
                found = f'mean={preprocessor["mean"]}' if preprocessor.get('mean') is not None else repr(preprocessor.get('type'))
                raise ConfigError(f'True leaves normalising to nepa_mm.TimmDataPreprocessor, and {place} has {found}',
                                  f'{key}.on_device', 'set that type and no mean, or on_device=False')
            for name, (timms, ours) in DEFAULTS.items():
                wanted, has = step.get(name, timms), preprocessor.get(f'timm_{name}', ours)
                if tuple(wanted) != tuple(has):
                    raise ConfigError(f'{list(has)} differs from {list(wanted)} of {key}.{name}', f'{place}.timm_{name}',
                                      'set both to what the weights were pretrained with')
            if step.get('is_training') and step.get('re_prob', 0) > 0:
                check_erased(cfg, steps[i + 1:], key)


def check_erased(cfg: Config, steps: list, key: str) -> None:
    """Whether the patches that a step erases come to the device."""
    if not any(name_of(step) == 'PackTimm' for _, step in steps):
        raise ConfigError('no nepa_mm.PackTimm follows, without which nothing would be erased', f'{key}.on_device',
                          'end the pipeline with it, or set on_device=False')
    loader = key.partition('.')[0]
    collate = name_of(cfg[loader].get('collate_fn') or {})
    if collate not in ('collate_and_hold', 'pseudo_collate'):
        raise ConfigError(f'{collate or "none"!r} cannot join erased patches', f'{loader}.collate_fn.type',
                          "set 'nepa_mm.collate_and_hold'")
