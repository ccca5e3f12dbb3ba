"""What backbone, neck and heads of a segmentation config hand on to each other, and windows."""
from collections.abc import Iterator
from typing import NamedTuple

from mmengine.config import Config

from nepa_mm.errors import ConfigError
from nepa_mm.hosts.type_names import name_of
from nepa_mm.launch.config_parts import SPLITS, datasets_of, steps_of
from nepa_mm.variants import arch_settings


def check_segmentor(cfg: Config, splits: tuple[str, ...] = SPLITS) -> None:
    """Contradictions in a segmentation config, most of them of one with a :class:`NEPAViT`, by their keys.

    Raises:
        ConfigError: For feature maps that neck or heads do not take, a [CLS] that is missing, crops smaller than a patch, windows
            with gaps, labels of a type that losses do not take.
    """
    model = cfg.get('model') or {}
    backbone = model.get('backbone') or {}
    if 'decode_head' not in model:
        return
    check_label_type(cfg, splits)
    if backbone.get('type') not in ('nepa_mm.NEPAViT', 'NEPAViT'):
        return
    maps = check_neck(model, feature_maps(backbone))
    for key, head in heads_in(model):
        check_head(head, key, check_neck(head, maps, key))  # a named one may have a neck of its own
        if name_of(head) == 'DPTHead' and not backbone.get('output_cls_token'):
            raise ConfigError(f'False, and {key} takes pairs of feature map and [CLS]', 'model.backbone.output_cls_token',
                              'set it to True')
    check_windows(model.get('test_cfg') or {})
    if isinstance(backbone.get('patch_size', 14), int):  # or else the backbone refuses it
        check_crops(cfg, backbone.get('patch_size', 14))


def heads_in(model: dict) -> Iterator[tuple[str, dict]]:
    """Keys and configs of all heads, those of a list and named ones each by itself."""
    for name in ('decode_head', 'auxiliary_head'):
        part = model.get(name) or []
        if isinstance(part, (list, tuple)):
            yield from ((f'model.{name}.{i}', head) for i, head in enumerate(part))
        elif name_of(part) == 'NamedHeads':
            yield from ((f'model.{name}.heads.{own}', head) for own, head in (part.get('heads') or {}).items())
        else:
            yield f'model.{name}', part


class Maps(NamedTuple):
    """What is known of feature maps: the channels of each, None if nothing, and the key that says so."""
    widths: list[int] | None
    said: str


def feature_maps(backbone: dict) -> Maps:
    """Of a backbone."""
    arch, indices = backbone.get('arch', 'base'), backbone.get('out_indices', -1)
    try:
        settings = arch_settings(arch)
    except ConfigError as error:
        raise ConfigError(error.what, f'model.backbone.{error.where}', error.remedy) from error
    said, layers = f'model.backbone.out_indices={indices!r}', settings['num_layers']
    indices = [indices] if isinstance(indices, int) else indices
    if not indices or not isinstance(indices, (list, tuple)) or not all(isinstance(index, int) for index in indices):
        raise ConfigError(f'{indices!r} is neither the number of a block, such as -1 for the last, nor a list of one or more',
                          'model.backbone.out_indices', 'give one of the two')
    outside = [index for index in indices if not -layers <= index < layers]
    if outside:
        raise ConfigError(f'{indices}: {outside[0]} is not in [{-layers}, {layers - 1}], the blocks of model.backbone.'
                          f'arch={arch!r}', 'model.backbone.out_indices', 'choose from these')
    out_type = backbone.get('out_type', 'raw')
    if not str(out_type).endswith('featmap') or out_type == 'avg_featmap':
        raise ConfigError(f'{out_type!r} gives no feature maps [B, D, h, w]', 'model.backbone.out_type',
                          "set 'padded_featmap' for nepa_mm.PaddedEncoderDecoder, else 'featmap'")
    widths = [settings['embed_dims']] * len({index % layers for index in indices})  # each block gives one map
    return Maps(widths, said)


def check_neck(model: dict, maps: Maps, key: str = 'model') -> Maps:
    """Whether the neck of a model, or of a head, takes the backbone's maps. Returns what it gives, as far as that is known."""
    neck = model.get('neck')
    if not neck or maps.widths is None:
        return maps
    if not isinstance(neck, dict):  # a list, which mmengine builds one after the other
        return Maps(None, '')
    kind, count, width = name_of(neck), len(maps.widths), maps.widths[0]
    if kind == 'ViTAdapter' and name_of(model) != 'AdaptedEncoderDecoder':
        raise ConfigError(f'{model.get("type")!r} gives no images to {key}.neck, a ViTAdapter', f'{key}.type',
                          "set 'nepa_mm.AdaptedEncoderDecoder'")
    if kind in ('Feature2Pyramid', 'SimplePyramid', 'ViTAdapter'):
        name = 'embed_dim' if kind == 'Feature2Pyramid' else 'embed_dims'
        scales = neck.get('rescales' if kind == 'Feature2Pyramid' else 'scales', (4, 2, 1, 0.5))
        if neck.get(name) != width:
            raise ConfigError(f'{neck.get(name)} differs from the width of model.backbone.arch, {width}', f'{key}.neck.{name}',
                              f'set it to {width}')
        if kind == 'Feature2Pyramid' and sorted(scales, reverse=True) not in ([4, 2, 1, 0.5], [2, 1, 0.5, 0.25]):
            raise ConfigError(f'{list(scales)} is neither [4, 2, 1, 0.5] nor [2, 1, 0.5, 0.25]', f'{key}.neck.rescales',
                              'choose one of the two; Feature2Pyramid runs no others')
        if kind == 'Feature2Pyramid' and count != len(scales):
            raise ConfigError(f'{list(scales)} takes {len(scales)} maps, but {maps.said} gives {count}', f'{key}.neck.rescales',
                              'make them as many')
        return Maps([neck.get('out_channels', 256) if kind == 'SimplePyramid' else width] * len(scales),
                    f'{key}.neck.type={neck["type"]!r}')
    if kind == 'MultiLevelNeck':
        if list(neck.get('in_channels', [])) != maps.widths:
            raise ConfigError(f'{neck.get("in_channels")} differs from the maps of {maps.said}', f'{key}.neck.in_channels',
                              f'set it to their widths, {maps.widths}')
        return Maps([neck.get('out_channels')] * len(neck.get('scales', (0.5, 1, 2, 4))), f"{key}.neck.type='MultiLevelNeck'")
    return Maps(None, '')


def check_head(head: dict, key: str, maps: Maps) -> None:
    """Whether a head takes maps that are there, of the width that they have."""
    channels, indices = head.get('in_channels'), head.get('in_index', -1)
    if isinstance(channels, int) and isinstance(indices, int):
        chosen = [(indices, channels)]
    elif isinstance(channels, (list, tuple)) and isinstance(indices, (list, tuple)):
        if len(channels) != len(indices):
            raise ConfigError(f'{list(channels)} and {key}.in_index={list(indices)} are not as many', f'{key}.in_channels',
                              'give as many')
        chosen = list(zip(indices, channels))
    elif 'in_index' in head and isinstance(channels, (int, list, tuple)) and isinstance(indices, (int, list, tuple)):
        raise ConfigError(f'{channels} and {key}.in_index={indices} are a list and a number', f'{key}.in_channels',
                          'give two numbers for one map, or two lists for several')
    else:  # a head with ways of its own
        return
    if maps.widths is None:
        return
    count = len(maps.widths)
    for index, width in chosen:
        if not -count <= index < count:
            raise ConfigError(f'{indices}: {index} is not in [{-count}, {count - 1}], the {count} feature maps of {maps.said}',
                              f'{key}.in_index', 'choose from these')
        if width != maps.widths[index]:
            raise ConfigError(f'{channels}: map {index} of {maps.said} has {maps.widths[index]} channels', f'{key}.in_channels',
                              'set it to these')


def check_windows(test_cfg: dict) -> None:
    """Windows of a test in slide mode have a size and leave no gaps."""
    if test_cfg.get('mode') != 'slide':
        return
    for key in ('crop_size', 'stride'):
        if not isinstance(test_cfg.get(key), (list, tuple)) or len(test_cfg[key]) != 2:
            raise ConfigError(f"{test_cfg.get(key)!r}, but mode='slide' needs a pair (height, width)", f'model.test_cfg.{key}',
                              'give a pair')
    crop, stride = test_cfg['crop_size'], test_cfg['stride']
    if not all(0 < step <= side for step, side in zip(stride, crop)):
        raise ConfigError(f'{tuple(stride)} is not in 1 to model.test_cfg.crop_size={tuple(crop)}: larger steps leave pixels '
                          'between the windows without a prediction', 'model.test_cfg.stride', 'lower it')
    at_once = test_cfg.get('windows_at_once', 1)
    if not isinstance(at_once, int) or at_once < 1:
        raise ConfigError(f'{at_once!r} is no number of windows', 'model.test_cfg.windows_at_once', 'give 1 or more')


def check_label_type(cfg: Config, splits: tuple[str, ...]) -> None:
    """Labels that are packed as bytes need a preprocessor that widens them."""
    preprocessor = (cfg.model.get('data_preprocessor') or cfg.get('data_preprocessor') or {}).get('type')
    if preprocessor not in ('SegDataPreProcessor', 'mmseg.SegDataPreProcessor'):
        return
    for key, dataset in datasets_of(cfg, splits):
        for step_key, step in steps_of(dataset, key):
            if step.get('type') == 'nepa_mm.PackSegInputs':
                raise ConfigError(f"{preprocessor!r} leaves labels in the bytes that {step_key}.type='nepa_mm.PackSegInputs' "
                                  'gives, and losses take int64', 'model.data_preprocessor.type',
                                  "set 'nepa_mm.SegDataPreProcessor'")


def check_crops(cfg: Config, patch_size: int) -> None:
    sizes = {'model.test_cfg.crop_size': (cfg.model.get('test_cfg') or {}).get('crop_size'),
             'model.data_preprocessor.size': (cfg.model.get('data_preprocessor') or {}).get('size')}
    for key, dataset in datasets_of(cfg, ('train', )):
        for step_key, step in steps_of(dataset, key):
            sizes[f'{step_key}.crop_size'] = step.get('crop_size')
    for key, size in sizes.items():
        if size is not None and min(size if isinstance(size, (list, tuple)) else [size]) < patch_size:
            raise ConfigError(f'{size} is smaller than one patch, model.backbone.patch_size={patch_size}', key,
                              'use larger crops or smaller patches')
