"""Names of parameters in the authors' released format and in ours, both ways."""
import re
from collections.abc import Iterable, Mapping

import torch
from torch import Tensor

from nepa_mm.errors import CheckpointError

# Released name or prefix, and ours
OUTSIDE_BLOCKS = {
    'vit_nepa.embeddings.cls_token': 'backbone.cls_token',
    'vit_nepa.embeddings.patch_embeddings.projection.': 'backbone.patch_embed.',
    'vit_nepa.layernorm.': 'backbone.norm.',
    'fc_norm.': 'backbone.fc_norm.',
    'classifier.': 'head.fc.',
}
BLOCKS = 'vit_nepa.encoder.layer.', 'backbone.layers.'
# The release keeps three projections, which we fuse into one: its thirds, in this order.
IN_BLOCK = {
    'layernorm_before.': 'ln1.',
    'attention.attention.query.': 'attn.qkv.0.',
    'attention.attention.key.': 'attn.qkv.1.',
    'attention.attention.value.': 'attn.qkv.2.',
    'attention.attention.q_norm.': 'attn.q_norm.',
    'attention.attention.k_norm.': 'attn.k_norm.',
    'attention.output.dense.': 'attn.proj.',
    'layer_scale.lambda1': 'ls1.gamma',
    'layernorm_after.': 'ln2.',
    'output.dense.': 'mlp.fc2.',
    'output.layer_scale.lambda1': 'ls2.gamma',
}
PLAIN_MLP = {'intermediate.up_proj.': 'mlp.fc1.'}
GATED_MLP = {'intermediate.gate_proj.': 'mlp.fc1_g.', 'intermediate.up_proj.': 'mlp.fc1_x.'}


def mm_parts(names: Iterable[str]) -> dict[str, list[str]]:
    """Which released parameters make up each of ours: one, or three to stack for qkv; CheckpointError for an unknown name."""
    names = list(names)
    mlp = GATED_MLP if any('.intermediate.gate_proj.' in name for name in names) else PLAIN_MLP
    result = {}
    for new, old in sorted(known(*renamed(names, BLOCKS, OUTSIDE_BLOCKS, IN_BLOCK | mlp)).items()):
        result.setdefault(re.sub(r'\.qkv\.\d\.', '.qkv.', new), []).append(old)
    for new, parts in result.items():
        if '.qkv.' in new and len(parts) < 3:
            raise CheckpointError(f'{parts[0]} lacks query, key or value beside it', 'its parameters',
                                  'give a complete checkpoint')
    return result


def stacked(released: Mapping[str, Tensor], parts: list[str]) -> Tensor:
    """The parameter of ours that released ones make up."""
    return released[parts[0]] if len(parts) == 1 else torch.cat([released[part] for part in parts])


def released_parts(names: Iterable[str]) -> dict[str, tuple[str, int | None]]:
    """Which of our parameters, or third of qkv, each released one is; CheckpointError for a name that the release lacks."""
    places = {}
    for name in names:
        thirds = range(3) if '.qkv.' in name else [None]
        places.update({name if third is None else name.replace('.qkv.', f'.qkv.{third}.'): (name, third) for third in thirds})
    mlp = GATED_MLP if any('.mlp.fc1_g.' in name for name in places) else PLAIN_MLP
    outside, in_block = ({new: old for old, new in table.items()} for table in (OUTSIDE_BLOCKS, IN_BLOCK | mlp))
    return {new: places[old] for new, old in known(*renamed(places, BLOCKS[::-1], outside, in_block)).items()}


def released_state_dict(ours: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Our parameters by their released names; CheckpointError for one that has no place in the released format."""
    return {name: third_of(ours, *place) for name, place in released_parts(ours).items()}


def third_of(ours: Mapping[str, Tensor], name: str, third: int | None) -> Tensor:
    return ours[name] if third is None else ours[name].chunk(3)[third]


def known(result: dict[str, str], unknown: list[str]) -> dict[str, str]:
    """New names and old ones, if every name has one."""
    if unknown:
        raise CheckpointError(f'{len(unknown)} parameters have no place in a NEPA model: {sorted(unknown)[:5]}',
                              'its parameters', 'give a released checkpoint of NEPA')
    return result


def renamed(names: Iterable[str], blocks: tuple[str, str], outside: dict[str, str],
            in_block: dict[str, str]) -> tuple[dict[str, str], list[str]]:
    """Each new name with the old one, and the names that have no place in the tables.

    Args:
        blocks: What stands before the number of a block, old and new.
        outside: New name of each parameter outside the blocks, or of what its name begins with, up to a dot or ``_``.
        in_block: The same within a block, behind its number.
    """
    result, unknown = {}, []
    for name in names:
        block, rest = re.fullmatch(rf'(?:{re.escape(blocks[0])}(\d+)\.)?(.*)', name, re.DOTALL).groups()
        table, begin = (outside, '') if block is None else (in_block, f'{blocks[1]}{block}.')
        old = next((old for old in table if (rest.startswith(old) if old[-1] in '._' else rest == old)), None)
        if old is None:
            unknown.append(name)
        else:
            result[begin + table[old] + rest.removeprefix(old)] = name
    return result, unknown
