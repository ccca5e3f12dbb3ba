"""Weights of birder's ViTs by our names: plain ones (``vit_*``, ``naflex_vit_*``) of NEPAViT, ``rope_vit5_*`` of ViT5."""
import math
import re
from collections.abc import Iterable, Mapping

import torch
from torch import Tensor

from nepa_mm.errors import CheckpointError

from .prefixes import WRAPPER, prefix_of
from .released_keys import renamed

BIRDER = re.compile(rf'({WRAPPER})encoder\.block\.0\.attn\.qkv\.weight')
# birder's name or prefix, and ours
OUTSIDE_BLOCKS = {
    'class_token': 'backbone.cls_token',
    'reg_tokens': 'backbone.registers',
    'pos_embedding': 'backbone.pos_embed',
    'conv_proj.weight': 'backbone.patch_embed.weight',
    'conv_proj.bias': 'backbone.patch_embed.bias',
    'norm.': 'backbone.norm.',
    'classifier.': 'head.fc.',
}
BLOCKS = 'encoder.block.', 'backbone.layers.'
IN_BLOCK = {
    'norm1.': 'ln1.',
    **{name: name for name in ('attn.qkv.', 'attn.q_norm.', 'attn.k_norm.', 'attn.proj.')},
    'layer_scale_1.gamma': 'ls1.gamma',
    'norm2.': 'ln2.',
    'mlp.0.': 'mlp.fc1.',
    'mlp.3.': 'mlp.fc2.',
    **{name: name for name in ('mlp.fc1_g.', 'mlp.fc1_x.', 'mlp.fc2.')},  # gated
    'layer_scale_2.gamma': 'ls2.gamma',
}
KNOWN = 'give a checkpoint of its vit_*, naflex_vit_* or rope_vit5_*'


def is_birder(names: Iterable[str]) -> bool:
    return prefix_of(BIRDER, names) is not None


def is_vit5(weights: Mapping[str, Tensor]) -> bool:
    """Of weights by our names: whether they are ViT-5's, which has registers, QK-norm and norms without a bias."""
    return 'backbone.norm.bias' not in weights and {'backbone.registers', 'backbone.layers.0.attn.q_norm.weight'} <= set(weights)


def birder_to_ours(state_dict: Mapping[str, Tensor], patches: int | None = None) -> dict[str, Tensor]:
    """The parameters of a ViT of birder by our names, ``backbone.*`` and ``head.*``.

    birder adds a position to [CLS] of its plain ViTs, too. Here it becomes part of [CLS], which comes to the same: no
    prediction is compared with the first token. CheckpointError for what neither NEPAViT nor ViT5 has.

    Args:
        patches: Positions that are patches'; None for all of a square number, else all but one.
    """
    prefix = prefix_of(BIRDER, state_dict)
    bare = {name.removeprefix(prefix): value for name, value in state_dict.items()}
    names, unknown = renamed(bare, BLOCKS, OUTSIDE_BLOCKS, IN_BLOCK)
    if unknown:
        raise CheckpointError(f"{unknown[0]!r} of a birder model has no place in NEPAViT or ViT5", 'its parameters', KNOWN)
    weights = {new: bare[old] for new, old in names.items()}
    if is_vit5(weights):
        return weights
    what = 'registers' if 'backbone.registers' in weights else 'RMSNorm' if 'backbone.norm.bias' not in weights else None
    if what:
        raise CheckpointError(f'a birder model with {what} that is no ViT-5 has no place in NEPAViT or ViT5', 'its parameters',
                              KNOWN)
    return with_position_in_cls(weights, patches)


def with_position_in_cls(weights: dict[str, Tensor], patches: int | None) -> dict[str, Tensor]:
    """The same with the position of [CLS], if it has one, as a part of [CLS]."""
    position, cls_token = weights.get('backbone.pos_embed'), weights.get('backbone.cls_token')
    if position is None or cls_token is None:
        return weights
    count = position.shape[1]
    patches = patches or (count if math.isqrt(count)**2 == count else count - 1)
    if patches not in (count, count - 1):
        raise CheckpointError(f'{count} positions for {patches} patches', 'pos_embedding', 'give a whole checkpoint of birder')
    own, position = torch.split(position, [count - patches, patches], dim=1)
    return {**weights, 'backbone.cls_token': cls_token + own if own.shape[1] else cls_token, 'backbone.pos_embed': position}
