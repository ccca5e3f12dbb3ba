"""Checkpoints of birder (gitlab.com/birder/birder), some of which NEPA trained: its files, and the model that they hold."""
import json
import logging
import math
import re
from collections.abc import Mapping
from pathlib import Path

from mmengine.logging import print_log
from torch import Tensor

from nepa_mm.errors import CheckpointError
from nepa_mm.variants import variant_of

from .fitting.birder_keys import KNOWN, birder_to_ours, is_vit5
from .fitting.fit import untraced_settings
from .model_config import model_config, shown_arguments
from .preprocessing import Preprocessing
from .record import KEY, config_text, published_name, record

FACTS = ('signature', 'rgb_stats', 'class_to_idx', 'config')
# Heads of its models by their width
HEADS = {192: 3, 384: 6, 512: 8, 768: 12, 896: 16, 1024: 16, 1152: 16, 1280: 16, 1408: 16, 1664: 16, 1792: 16}
# Settings of its configs that leave no trace in weights and must be as they are by default
DEFAULTS = dict(rope_style='default', rope_rot_type='standard', rope_grid_indexing='ij', rope_grid_offset=0, pt_grid_size=None,
                act_layer_type=None, norm_after_pool=False)


def facts_in_file(checkpoint: dict) -> dict:
    """What a file as read says beside its weights: ``signature``, ``rgb_stats``, ``class_to_idx``, ``config``.

    Safetensors have them in their header, as JSON.
    """
    header = checkpoint.get('metadata')
    if isinstance(header, dict) and 'birder_version' in header:
        return {key: json.loads(header[key]) for key in FACTS if header.get(key)}
    return {key: checkpoint[key] for key in FACTS if isinstance(checkpoint.get(key), dict)}


def from_birder(state_dict: Mapping[str, Tensor], facts: dict, address: str) -> tuple[dict[str, Tensor], dict]:
    """Weights by our names, and ``meta`` with the config of the model that they are of.

    CheckpointError if neither NEPAViT nor ViT5 computes what this model does.

    Args:
        facts: As of :func:`facts_in_file`; what they leave open is birder's usual, and a warning says so.
    """
    settings = facts.get('config') or {}
    for key, usual in DEFAULTS.items():
        if settings.get(key, usual) != usual:
            raise CheckpointError(f'{settings[key]!r} has no place in NEPAViT or ViT5, which know {usual!r}', f'config, {key}',
                                  KNOWN)
    patch = next((value for name, value in state_dict.items() if name.endswith('conv_proj.weight') and value.ndim == 4), None)
    shape = (facts.get('signature') or {}).get('inputs', [{}])[0].get('data_shape')  # of images, [0, C, H, W]
    patches = None if shape is None or patch is None else math.prod(side // patch.shape[-1] for side in shape[2:])
    weights = birder_to_ours(state_dict, patches)
    if not is_vit5(weights) and re.search(r'rope', Path(address).name):
        raise CheckpointError('by its name it has the RoPE of birder, which only ViT-5 has here', 'its weights', KNOWN)
    num_classes = len(weights['head.fc.weight']) if 'head.fc.weight' in weights else None
    backbone, assumed = backbone_of(weights, settings, shape and tuple(shape[2:]), num_classes is not None)
    stats = facts.get('rgb_stats')
    images = stats and Preprocessing(*([255 * value for value in stats[key]] for key in ('mean', 'std')), 'RGB',
                                     backbone['img_size'], 'bicubic')
    if not images:
        assumed = [*assumed, 'pixels as the release has them']
    print_log(f'{address}: a model of birder; what its file does not say is assumed, {", ".join(assumed)}', 'current',
              logging.WARNING)
    rope = dict(theta=backbone['theta']) if 'theta' in backbone else None
    known = untraced_settings({**backbone, 'rope': rope, 'act': 'silu' if backbone['gated_mlp'] else 'gelu'})
    classes = [name for name, _ in sorted((facts.get('class_to_idx') or {}).items(), key=lambda item: item[1])]
    return weights, dict(
        cfg=config_text(model_config(backbone, num_classes, images or None)),
        **(dict(dataset_meta=dict(classes=classes)) if num_classes and len(classes) == num_classes else {}),
        **{KEY: record('as published', variant=variant_of(backbone), settings=known, source=published_name(address))})


def backbone_of(weights: Mapping[str, Tensor], settings: dict, size: tuple[int, int] | None,
                classifies: bool) -> tuple[dict, list[str]]:
    """Arguments of the NEPAViT or ViT5, and which of them were assumed.

    Args:
        settings: Of birder's config, where the file has any.
        size: Height and width of its images.
        classifies: Whether there is a classifier, whose attention goes in both directions.
    """
    vit5, width = is_vit5(weights), len(weights['backbone.patch_embed.weight'])
    arguments = shown_arguments(weights, settings.get('num_heads', HEADS.get(width)))
    if size is None:
        positions = weights.get('backbone.pos_embed')
        size = ((16 if positions is None else math.isqrt(positions.shape[1])) * arguments['patch_size'], ) * 2
    arguments.update(
        img_size=size,
        causal=not classifies,
        out_type='raw' if not classifies else 'cls_token' if arguments['with_cls_token'] else 'avg_featmap',  # without fc_norm
        act='silu' if arguments['gated_mlp'] else 'gelu',
        norm_eps=settings.get('norm_layer_eps', 1e-6))
    if vit5:
        arguments.update(type='nepa_mm.ViT5', num_registers=weights['backbone.registers'].shape[1],
                         theta=settings.get('rope_temperature', 10000.),
                         register_theta=settings.get('rope_reg_temperature', 100.))
    else:
        arguments['rope'] = None
    is_known = arguments['qk_norm'] or 'num_heads' in settings
    assumed = {} if is_known else dict(num_heads=arguments['arch']['num_heads'])
    rope = ('theta', 'register_theta') if vit5 else ('rope', )
    assumed |= {key: arguments[key] for key in ('causal', 'act', 'norm_eps', *rope)}
    return arguments, [f'{key}={value!r}' for key, value in assumed.items()]
