"""Checkpoints with timm's names of a ViT, as DINO, iBOT, I-JEPA, MAE, MoCo v3, BEiT and DeiT have them, for mmpretrain's ViTs."""
import re

from timm.layers import resize_rel_pos_bias_table
from torch import Tensor

from nepa_mm.errors import CheckpointError

from .released_keys import renamed

# Where a checkpoint keeps its encoder, in order of preference: of two, the one that its authors evaluate
KEYS = ('target_encoder', 'teacher', 'state_dict', 'model', 'encoder', 'student')
WRAPPERS = r'^(module\.)?(backbone\.)?(base_encoder\.)?'  # DistributedDataParallel; DINO and iBOT; MoCo v3
# What only pretraining uses: heads, mask tokens, MAE's decoder, MoCo's predictor and second encoder
DROPPED = ('head.', 'lm_head.', 'mask_token', 'masked_embed', 'decoder_', 'predictor.', 'momentum_encoder.')

# timm's name or prefix, and mmpretrain's
OUTSIDE_BLOCKS = {
    'cls_token': 'cls_token',
    'pos_embed': 'pos_embed',
    'patch_embed.proj.': 'patch_embed.projection.',
    'norm.': 'ln1.',
    'fc_norm.': 'ln2.',  # of the mean patch token, in fine-tuned models
    'rel_pos_bias.': 'rel_pos_bias.',  # BEiT's, shared by all blocks
}
IN_BLOCK = {
    'norm1.': 'ln1.',
    'attn.qkv.': 'attn.qkv.',
    'attn.proj.': 'attn.proj.',
    'norm2.': 'ln2.',
    'mlp.fc1.': 'ffn.layers.0.0.',
    'mlp.fc2.': 'ffn.layers.1.',
    **{name: name for name in ('attn.q_bias', 'attn.v_bias', 'attn.relative_position_', 'gamma_1', 'gamma_2')},  # BEiT's
}


def extract_state_dict(checkpoint: dict, key: str | None = None) -> dict[str, Tensor]:
    """The encoder that a checkpoint holds, without the prefixes of what wrapped it; CheckpointError if there is none.

    Args:
        key: Where the encoder is; None takes the first of ``KEYS`` that there is, or the checkpoint itself if there is none.
    """
    if key is not None and key not in checkpoint:
        raise CheckpointError(f'{key!r} is not in the checkpoint', 'key', f'choose from {list(checkpoint)[:10]}')
    key = key or next((name for name in KEYS if isinstance(checkpoint.get(name), dict)), None)
    encoder = checkpoint if key is None else checkpoint[key]
    if not isinstance(encoder, dict) or not all(isinstance(value, Tensor) for value in encoder.values()):
        what = 'the checkpoint' if key is None else f'{key!r} of the checkpoint'
        raise CheckpointError(f'{what} does not map names to tensors', 'key', f'choose from {list(checkpoint)[:10]}')
    return {re.sub(WRAPPERS, '', name): value for name, value in encoder.items()}


def timm_to_mmpretrain(state_dict: dict[str, Tensor]) -> dict[str, Tensor]:
    """Rename the parameters of an encoder for mmpretrain's ``VisionTransformer`` or ``BEiTViT``; leave out ``DROPPED``.

    CheckpointError for a parameter that these backbones do not have, or if there is no block at all.
    """
    kept = [name for name in state_dict if not name.startswith(DROPPED)]
    names, unknown = renamed(kept, ('blocks.', 'layers.'), OUTSIDE_BLOCKS, IN_BLOCK)
    if unknown:
        raise CheckpointError(f"parameter {unknown[0]!r} has no place in mmpretrain's VisionTransformer or BEiTViT",
                              'its parameters', 'give a checkpoint of a plain ViT')
    if not any(name.startswith('layers.') for name in names):
        raise CheckpointError(f'no blocks.* of a ViT among the {len(state_dict)} parameters, such as {list(state_dict)[:2]}',
                              'its parameters', 'check the file and the key')
    return {new: state_dict[old] for new, old in names.items()}


def resize_relative_positions(state_dict: dict[str, Tensor], grid: int) -> dict[str, Tensor]:
    """Resize BEiT's tables of relative positions, renamed already, for ``grid`` x ``grid`` patches; CheckpointError without any.

    mmpretrain would do so as it loads, but calls ``scipy.interpolate.interp2d``, which SciPy 1.14 removed. timm interpolates
    at the same points, linearly. The index of a block goes: the backbone makes it for its own size.
    """
    result = {name: value for name, value in state_dict.items() if not name.endswith('attn.relative_position_index')}
    tables = [name for name in result if name.endswith('relative_position_bias_table')]
    if not tables:
        raise CheckpointError(f'{grid}: the checkpoint has no tables of relative positions to resize', 'grid', 'leave it out')
    for name in tables:
        heads = result[name].shape[1]
        shape = ((2 * grid - 1)**2 + 3, heads)  # three more: from [CLS], to [CLS], [CLS] to itself
        result[name] = resize_rel_pos_bias_table(result[name], (grid, grid), shape)
    return result
