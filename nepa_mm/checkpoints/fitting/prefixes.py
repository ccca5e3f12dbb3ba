"""Find a NEPA model among the names of a checkpoint, whatever wrapped it when it was saved."""
import re
from collections.abc import Iterable, Mapping

from torch import Tensor

from nepa_mm.errors import CheckpointError

from .released_keys import mm_parts, stacked

# DistributedDataParallel, torch.compile, algorithms of others, ours, the release's
WRAPPER = r'(?:module\.|_orig_mod\.|model\.|backbone\.|vit_nepa\.)*'
OURS = re.compile(rf'({WRAPPER})layers\.0\.attn\.qkv\.weight')
RELEASED = re.compile(rf'({WRAPPER})encoder\.layer\.0\.attention\.attention\.query\.weight')
RELEASED_BACKBONE = ('embeddings.', 'encoder.', 'layernorm.')


def prefix_of(pattern: re.Pattern, names: Iterable[str]) -> str | None:
    """What stands before a backbone's names; None if there is no backbone, or more than one."""
    found = [match[1] for match in map(pattern.fullmatch, names) if match]
    return found[0] if len(found) == 1 else None


def our_parts(names: Iterable[str]) -> dict[str, list[str]]:
    """Which tensors of a checkpoint make up each parameter of ours, ``backbone.*``, ``head.*``, ...; others keep their names.

    CheckpointError for a released checkpoint with a parameter that no released model has.
    """
    names = list(names)
    if prefix_of(RELEASED, names) is not None:
        released = {}
        for name in names:
            bare = re.sub(f'^{WRAPPER}', '', name)
            released[f'vit_nepa.{bare}' if bare.startswith(RELEASED_BACKBONE) else bare] = name
        return {ours: [released[part] for part in parts] for ours, parts in mm_parts(released).items()}
    prefix = prefix_of(OURS, names)
    # mmpretrain's ViT has the same blocks; its patch embedding goes by another name.
    if prefix is None or f'{prefix}patch_embed.weight' not in names:
        return {name: [name] for name in names}
    if not prefix.endswith(('backbone.', 'vit_nepa.')):  # the backbone alone
        return {f'backbone.{name.removeprefix(prefix)}': [name] for name in names}
    wrapper = prefix.removesuffix('backbone.').removesuffix('vit_nepa.')
    return {re.sub(r'^vit_nepa\.', 'backbone.', name.removeprefix(wrapper)): [name] for name in names}


def with_our_names(state_dict: dict[str, Tensor]) -> dict[str, Tensor]:
    """The parameters of a NEPA model by our names; other models stay as they are."""
    return {name: stacked(state_dict, parts) for name, parts in our_parts(state_dict).items()}


def blocks_of(names: Iterable[str]) -> set[str]:
    """Numbers of the blocks that the names of a backbone have."""
    return set(re.findall(r'\blayers\.(\d+)\.', ' '.join(names)))


# Where checkpoints keep their weights: mm's; birder's; timm's and others'; DINO's; I-JEPA's
PLACES = ('state_dict', 'state', 'model', 'teacher', 'student', 'target_encoder', 'encoder')


def backbone_in(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """The only backbone among weights, by its own names; empty if there is none, or more than one."""
    prefix = prefix_of(OURS, weights)
    return {} if prefix is None else {
        name.removeprefix(prefix): value for name, value in weights.items() if name.startswith(prefix)}


def state_dict_of(checkpoint: dict) -> dict | None:
    """The weights in a checkpoint, under one of ``PLACES`` or all of it; None if there are none."""
    for found in (*(checkpoint.get(place) for place in PLACES), checkpoint):
        if isinstance(found, dict) and found and all(
                isinstance(name, str) and isinstance(value, Tensor) for name, value in found.items()):
            return found
    return None


OUTSIDE_BLOCKS = ('patch_embed.weight', 'patch_embed.bias', 'norm.weight', 'norm.bias')
IN_EVERY_BLOCK = {f'{layer}.{kind}' for layer in ('ln1', 'attn.proj', 'ln2', 'mlp.fc2') for kind in ('weight', 'bias')}
SHIFTS = ('ln1.bias', 'ln2.bias')  # of LayerNorm; RMSNorm has none


def checked(weights: Mapping) -> Mapping[str, Tensor]:
    """Weights, or those of a checkpoint, of a whole NEPA model by our names; else a CheckpointError names some of them."""
    weights = weights.get('state_dict', weights)
    if 'backbone.patch_embed.weight' not in weights or 'backbone.layers.0.attn.qkv.weight' not in weights:
        raise CheckpointError(f'it holds no NEPA model; first keys: {list(weights)[:5]}', 'its weights',
                              'give a checkpoint of a NEPA model')
    blocks = {block: set() for block in blocks_of(name for name in weights if name.startswith('backbone.'))}
    for name in weights:
        match = re.match(r'backbone\.layers\.(\d+)\.(.+)', name)
        if match:
            blocks[match[1]].add(match[2])
    has_shifts = any(name.endswith(SHIFTS) for name in weights)
    expected = set.union(IN_EVERY_BLOCK - (set() if has_shifts else set(SHIFTS)), *blocks.values())
    lacking = [f'backbone.layers.{block}.{part}' for block, parts in blocks.items() for part in sorted(expected - parts)]
    lacking += [f'backbone.{name}' for name in OUTSIDE_BLOCKS
                if f'backbone.{name}' not in weights and (has_shifts or name != 'norm.bias')]
    if lacking:
        raise CheckpointError(f'it lacks {len(lacking)} tensors that the others call for; first keys: {lacking[:5]}',
                              'its weights', 'give a complete checkpoint')
    return weights
