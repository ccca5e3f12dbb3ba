"""Names of parameters in the authors' released format and in ours, both ways."""
import re
from collections.abc import Iterable, Mapping

import torch
from torch import Tensor

from nepa_mm.errors import CheckpointError

# Released prefix of a parameter name, and ours
OUTSIDE_BLOCKS = [
    ('vit_nepa.embeddings.cls_token', 'backbone.cls_token'),
    ('vit_nepa.embeddings.patch_embeddings.projection.', 'backbone.patch_embed.'),
    ('vit_nepa.layernorm.', 'backbone.norm.'),
    ('fc_norm.', 'backbone.fc_norm.'),
    ('classifier.', 'head.fc.'),
]
IN_BLOCK = [
    ('layernorm_before.', 'ln1.'),
    ('attention.attention.q_norm.', 'attn.q_norm.'),
    ('attention.attention.k_norm.', 'attn.k_norm.'),
    ('attention.output.dense.', 'attn.proj.'),
    ('layer_scale.lambda1', 'ls1.gamma'),
    ('layernorm_after.', 'ln2.'),
    ('output.dense.', 'mlp.fc2.'),
    ('output.layer_scale.lambda1', 'ls2.gamma'),
]
PLAIN_MLP = [('intermediate.up_proj.', 'mlp.fc1.')]
GATED_MLP = [('intermediate.gate_proj.', 'mlp.fc1_g.'), ('intermediate.up_proj.', 'mlp.fc1_x.')]
# The release keeps three projections, which we fuse into one, in this order.
QKV = ('query', 'key', 'value')
QUERY = re.compile(r'vit_nepa\.encoder\.layer\.(\d+)\.attention\.attention\.query\.(weight|bias)')
FUSED = re.compile(r'backbone\.layers\.(\d+)\.attn\.qkv\.(weight|bias)')


def mm_parts(names: Iterable[str]) -> dict[str, list[str]]:
    """Which released parameters make up each of ours: one, or three to stack for the fused projection.

    Raises:
        CheckpointError: For a name that no released model has.
    """
    names = set(names)
    result = {}
    for match in sorted(filter(None, map(QUERY.fullmatch, names)), key=lambda match: match[0]):
        parts = [match[0].replace('.query.', f'.{part}.') for part in QKV]
        if not names.issuperset(parts):
            raise CheckpointError(f'{match[0]} has no key or value beside it', 'its parameters', 'give a complete checkpoint')
        result[f'backbone.layers.{match[1]}.attn.qkv.{match[2]}'] = parts
        names.difference_update(parts)
    renaming = rename_table(names, gate='.intermediate.gate_proj.')
    return result | {new: [old] for new, old in renamed(names, renaming).items()}


def mm_state_dict(released: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Released parameters by our names, ``backbone.*`` and ``head.fc.*``.

    Raises:
        CheckpointError: For a parameter that no released model has.
    """
    return {name: stacked(released, parts) for name, parts in mm_parts(released).items()}


def stacked(released: Mapping[str, Tensor], parts: list[str]) -> Tensor:
    """The parameter of ours that released ones make up."""
    return released[parts[0]] if len(parts) == 1 else torch.cat([released[part] for part in parts])


def released_parts(names: Iterable[str]) -> dict[str, tuple[str, int | None]]:
    """Which of our parameters holds each released one, and as which of its thirds if it is the fused projection.

    Raises:
        CheckpointError: For a name that has no place in the released format.
    """
    names = set(names)
    result = {}
    for match in sorted(filter(None, map(FUSED.fullmatch, names)), key=lambda match: match[0]):
        for third, part in enumerate(QKV):
            result[f'vit_nepa.encoder.layer.{match[1]}.attention.attention.{part}.{match[2]}'] = match[0], third
        names.discard(match[0])
    renaming = [(new, old) for old, new in rename_table(names, gate='.mlp.fc1_g.')]
    return result | {new: (old, None) for new, old in renamed(names, renaming).items()}


def released_state_dict(ours: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Our parameters by their released names: the inverse of :func:`mm_state_dict`.

    Raises:
        CheckpointError: For a parameter that has no place in the released format.
    """
    return {name: third_of(ours, *place) for name, place in released_parts(ours).items()}


def third_of(ours: Mapping[str, Tensor], name: str, third: int | None) -> Tensor:
    """The released parameter that is one of ours or a third of it."""
    return ours[name] if third is None else ours[name].chunk(3)[third]


def rename_table(names: Iterable[str], gate: str) -> list[tuple[str, str]]:
    """Pairs of released and our prefixes for the blocks that the names hold."""
    mlp = GATED_MLP if any(gate in name for name in names) else PLAIN_MLP
    blocks = {block for name in names for block in re.findall(r'\.layers?\.(\d+)\.', name)}
    return OUTSIDE_BLOCKS + [(f'vit_nepa.encoder.layer.{i}.{old}', f'backbone.layers.{i}.{new}') for i in blocks
                             for old, new in IN_BLOCK + mlp]


def renamed(names: Iterable[str], table: list[tuple[str, str]]) -> dict[str, str]:
    """Old name of each new one, with the prefix that the table gives; every name must have one."""
    result, unknown = {}, []
    for name in sorted(names):
        prefixes = [(old, new) for old, new in table if name.startswith(old)]
        if len(prefixes) == 1:
            old, new = prefixes[0]
            result[new + name.removeprefix(old)] = name
        else:
            unknown.append(name)
    if unknown:
        raise CheckpointError(f'{len(unknown)} parameters have no place in a NEPA model: {unknown[:5]}', 'its parameters',
                              'give a released checkpoint of NEPA')
    return result
