"""Fit a checkpoint to a backbone as it loads, and refuse one that would leave weights at random."""
from timm.layers import resample_abs_pos_embed
from torch import Tensor, nn

from ..errors import CheckpointError

# Fine-tuning adds these to a pretrained backbone; they start as the identity.
ADDED_BY_FINE_TUNING = ('attn.q_norm.', 'attn.k_norm.', 'fc_norm.')


def fit_state_dict(backbone: nn.Module, state_dict: dict[str, Tensor], prefix: str, *_) -> None:
    """Hook before a :class:`NEPAViT` loads: resize the position embedding, check that all weights are there.

    Hosts load with ``strict=False``, where a wrong file or prefix silently trains from scratch.

    Raises:
        CheckpointError: If a weight is missing that fine-tuning does not add, or has another shape.
    """
    own = {prefix + name: value.shape for name, value in backbone.state_dict().items()}
    name = prefix + 'pos_embed'
    if name in own and name in state_dict and state_dict[name].shape != own[name]:
        state_dict[name] = resize_pos_embed(state_dict[name], backbone.stored_grid)
    missing = [name for name in own
               if name not in state_dict and not any(part in name for part in ADDED_BY_FINE_TUNING)]
    if missing:
        raise CheckpointError(f'the checkpoint lacks {len(missing)} of {len(own)} weights of NEPAViT, such as {missing[:2]}; it '
                              f'has {list(state_dict)[:2]} here: check its path, the prefix and the variant of the backbone')
    for name, shape in own.items():
        if name in state_dict and state_dict[name].shape != shape:
            raise CheckpointError(f'{name} is {list(state_dict[name].shape)} in the checkpoint and {list(shape)} here; check '
                                  'arch, patch_size and in_channels of the backbone')


def resize_pos_embed(pos_embed: Tensor, grid: tuple[int, int]) -> Tensor:
    """Position embedding [1, T, D] of a square image, for a grid of h x w patches: [1, h * w, D]."""
    side = round(pos_embed.shape[1]**0.5)
    if side * side != pos_embed.shape[1]:
        raise CheckpointError(f'pos_embed of the checkpoint has {pos_embed.shape[1]} positions, not a square grid, and cannot be '
                              f'resized to {grid[0]}x{grid[1]} patches (img_size / patch_size)')
    return resample_abs_pos_embed(pos_embed, grid, (side, side), num_prefix_tokens=0)
