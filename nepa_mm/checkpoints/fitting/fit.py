"""Fit a checkpoint to a model as it loads, say in one line what was done, and refuse what would leave weights at random.

Hosts load with ``strict=False``, where a wrong file or prefix silently trains from scratch.
"""
from collections import OrderedDict
from dataclasses import dataclass, field
from fnmatch import fnmatch

import torch
from mmengine.logging import print_log
from torch import Tensor, nn

from nepa_mm.checkpoints.record import KEY
from nepa_mm.errors import CheckpointError

from .prefixes import blocks_of

FIRST = 'layers.0.attn.qkv.weight'  # of every NEPA ViT
# LayerScale and the linear layer before it
LAYER_SCALES = {'ls1.gamma': 'attn.proj', 'ls2.gamma': 'mlp.fc2'}


@dataclass
class Fit:
    """What loading a checkpoint comes to, in words for one line."""
    source: str
    available: int  # tensors of a backbone in the checkpoint
    loaded: int = 0
    changed: list[str] = field(default_factory=list)
    created: list[str] = field(default_factory=list)
    ignored: list[str] = field(default_factory=list)
    new_parts: list[str] = field(default_factory=list)  # outside the backbone, not in the checkpoint
    unused_parts: list[str] = field(default_factory=list)  # outside the backbone, not in the model

    def __str__(self) -> str:
        line = f'{self.source}: {self.loaded} of {self.available} backbone tensors loaded'
        if self.changed:
            line += f' ({", ".join(self.changed)})'
        created, ignored = self.created + self.new_parts, self.ignored + self.unused_parts
        return f'{line}; created: {", ".join(created) or "nothing"}; ignored: {", ".join(ignored) or "nothing"}'

    def add(self, other: 'Fit') -> None:
        """Count another backbone as well."""
        self.available += other.available
        self.loaded += other.loaded
        for words in ('changed', 'created', 'ignored'):
            getattr(self, words).extend(getattr(other, words))


@dataclass
class Origin:
    """Where weights come from, told once however often they are copied and loaded (an average takes them too)."""
    source: str
    settings: dict = field(default_factory=dict)  # untraced_settings of the backbone that was saved, where known
    backbone: dict[str, Tensor] = field(default_factory=dict)  # its weights by its own names, if there is one
    told: bool = False


class Origins(OrderedDict):
    """``_metadata`` of a state dict, which PyTorch hands to the hooks of each module, with an origin for every one of them."""

    def __init__(self, versions: dict, origin: Origin) -> None:
        super().__init__(versions)
        self.origin = origin

    def get(self, module: str, default: dict | None = None) -> dict:
        return {**(super().get(module) or {}), KEY: self.origin}

    def __deepcopy__(self, memo: dict) -> 'Origins':
        return Origins(dict(self), self.origin)

    def __reduce__(self) -> tuple:  # a checkpoint that is saved again must not need this class
        return OrderedDict, (list(self.items()), )


def origin_of(state_dict: dict) -> Origin:
    """Where a state dict comes from, as far as that is known."""
    return getattr(getattr(state_dict, '_metadata', None), 'origin', None) or Origin('the state dict', told=True)


def untraced_settings(arguments: dict) -> dict:
    """What makes another model of the same weights and leaves no trace in their names and shapes.

    Of the arguments of a :class:`NEPAViT`, none left to its default.
    """
    theta = None if arguments['rope'] is None else arguments['rope'].get('theta', 100.)
    return dict(num_heads=arguments['arch']['num_heads'], qk_norm=arguments['qk_norm'] is not None, act=arguments['act'],
                rope_theta=theta, norm_eps=arguments['norm_eps'])


def fit_backbone(backbone: nn.Module, weights: dict[str, Tensor], source: str = 'the checkpoint',
                 settings: dict | None = None) -> Fit:
    """Change weights, in place, so that they load into a :class:`NEPAViT` strictly and compute what they did; says what was done.

    Args:
        settings: ``untraced_settings`` of the backbone that was saved, where known, and ``grid``, rows and columns of its
            position embedding.

    Raises:
        CheckpointError: If a weight would be left at random or one of the checkpoint unused, and
            ``backbone.allow_unmatched`` does not list it.
    """
    own = backbone.state_dict()
    fit = Fit(source, available=len(weights))
    first = list(weights)
    check_settings(backbone, weights, settings or {}, fit)
    fold_layer_scales(weights, own, fit)
    resize_embeddings(backbone, weights, own, fit, (settings or {}).get('grid'))
    drop_additions_of_fine_tuning(weights, own, fit)
    listed, unlisted = split_by(backbone.allow_unmatched, [name for name in weights if name not in own])
    if unlisted:
        hint = " (qk_norm='affine' keeps them)" if '_norm' in unlisted[0] else ''
        refuse(source, f'{len(unlisted)} of its {fit.available} backbone tensors have no place here{hint}', unlisted)
    for name in listed:
        del weights[name]
    if listed:
        fit.ignored.append(f'{len(listed)} in allow_unmatched')
    fit.loaded = fit.available - sum(name not in weights and not is_layer_scale(name) for name in first)

    create_additions_of_fine_tuning(weights, own, fit)
    listed, unlisted = split_by(backbone.allow_unmatched, [name for name in own if name not in weights])
    if unlisted:
        refuse(source, f'it lacks {len(unlisted)} of the {len(own)} tensors of this backbone, such as {unlisted[0]}', first)
    if listed:
        fit.created.append(f'{len(listed)} in allow_unmatched as initialized')
    for name, value in weights.items():
        if value.shape != own[name].shape:
            shapes = f'{name} is {list(value.shape)} there and {list(own[name].shape)} here'
            refuse(source, f'{shapes} (check arch and in_channels)', first)
    kinds = {short(value.dtype) for name, value in weights.items() if value.dtype != own[name].dtype}
    if kinds:
        fit.changed.append(f'{" and ".join(sorted(kinds))} read as {short(backbone.norm.weight.dtype)}')
    return fit


def refuse(source: str, reason: str, names: list[str]) -> None:
    raise CheckpointError(f'{reason}; first keys: {names[:5]}', source,
                          'give a checkpoint of this model, or build the model of this checkpoint')


def short(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix('torch.')


def split_by(patterns, names: list[str]) -> tuple[list[str], list[str]]:
    matching = [name for name in names if any(fnmatch(name, pattern) for pattern in patterns)]
    return matching, [name for name in names if name not in matching]


def is_layer_scale(name: str) -> bool:
    return name.endswith(tuple(LAYER_SCALES))


def check_settings(backbone: nn.Module, weights: dict[str, Tensor], settings: dict, fit: Fit) -> None:
    """Refuse another kind of model, another depth, and what no tensor shows, such as the number of heads."""
    source, first = fit.source, list(weights)
    if FIRST not in weights or 'patch_embed.weight' not in weights:
        refuse(source, 'no weights of a NEPA ViT here (of another architecture, or under another prefix?)', first)
    depth = len(blocks_of(weights))
    if depth != backbone.num_layers:
        refuse(source, f'{depth} blocks there and {backbone.num_layers} here (check arch)', first)
    width = len(weights['patch_embed.weight'])
    if width != backbone.embed_dims:
        refuse(source, f'embed_dims={width} there and {backbone.embed_dims} here (check arch)', first)
    for key, here in backbone.untraced_settings.items():
        if key in settings and settings[key] != here:
            differs = f'{key}={settings[key]!r} there and {here!r} here'
            if key not in backbone.allow_unmatched:
                refuse(source, f'{differs} would make it another model; set it alike, or list {key!r} in allow_unmatched', first)
            fit.changed.append(differs)


def fit_state_dict(backbone: nn.Module, state_dict: dict[str, Tensor], prefix: str, metadata: dict, *_) -> None:
    """Hook before a :class:`NEPAViT` loads: :func:`fit_backbone` on the part of a state dict that is the backbone's, in place."""
    origin = metadata.get(KEY)
    weights = {name.removeprefix(prefix): value for name, value in state_dict.items() if name.startswith(prefix)}
    if not weights and origin is None:  # PyTorch's own business: a head that is loaded alone
        return
    origin = origin or Origin('the state dict', told=True)
    beside = 0
    if FIRST not in weights and origin.backbone:  # under another prefix there
        beside = len(weights) - len(origin.backbone) if not prefix else 0
        weights = dict(origin.backbone)
    fit = fit_backbone(backbone, weights, origin.source, origin.settings)
    if beside > 0:
        fit.ignored.append(f'{beside} beside the backbone')
    for name in [name for name in state_dict if name.startswith(prefix)]:
        del state_dict[name]
    state_dict.update({prefix + name: value for name, value in weights.items()})
    if not origin.told:
        origin.told = True
        print_log(str(fit), 'current')


def fold_layer_scales(weights: dict[str, Tensor], own: dict[str, Tensor], fit: Fit) -> None:
    """Multiply LayerScale into the linear layer before it where the backbone has none."""
    folded = 0
    for name in [name for name in weights if is_layer_scale(name) and name not in own]:
        block, kind = name.rsplit('.', 2)[0], '.'.join(name.rsplit('.', 2)[1:])
        linear = [f'{block}.{LAYER_SCALES[kind]}.{part}' for part in ('weight', 'bias')]
        if all(part in weights for part in linear):
            scale = weights.pop(name).float()  # in half precision, a scale of 1e-5 would drown most weights
            weights[linear[0]] = weights[linear[0]].float() * scale[:, None]
            weights[linear[1]] = weights[linear[1]].float() * scale
            folded += 1
    if folded:
        fit.changed.append(f'{folded} LayerScales folded into the linear layers before them')


def resize_embeddings(backbone: nn.Module, weights: dict[str, Tensor], own: dict[str, Tensor], fit: Fit,
                      saved: tuple[int, int] | None) -> None:
    """Resample position and patch embedding to the image and patch size of the backbone, and RGB to its channels.

    The position embedding has the ``saved`` grid; where that is not known, the backbone's own if it has as many places, or else
    a square.
    """
    position, grid = weights.get('pos_embed'), backbone.stored_grid
    if 'pos_embed' in own and position is not None and position.ndim == 3:
        count = position.shape[1]
        there = next((each for each in (saved, grid) if each and each[0] * each[1] == count), (round(count**0.5), ) * 2)
        if there[0] * there[1] != count:
            refuse(fit.source, f'pos_embed has {count} positions, not a square grid, and cannot be resized to '
                   f'{grid[0]}x{grid[1]} patches (img_size / patch_size)', list(weights))
        if there != grid:
            from timm.layers import resample_abs_pos_embed  # slow to import, and seldom needed
            weights['pos_embed'] = resample_abs_pos_embed(position, grid, there, num_prefix_tokens=0)
            kind = 'a square of ' if there[0] == there[1] else ''
            fit.changed.append(f'position embedding resized from {kind}{there[0]}x{there[1]} to {grid[0]}x{grid[1]}')
    patch, size, channels = weights['patch_embed.weight'], own['patch_embed.weight'].shape[-2:], backbone.patch_embed.in_channels
    if patch.ndim == 4 and patch.shape[1] == 3 != channels:
        from timm.models import adapt_input_conv
        patch = weights['patch_embed.weight'] = adapt_input_conv(channels, patch)
        fit.changed.append(f'patch embedding adapted from RGB to {channels} channel{"s" * (channels > 1)}')
    if patch.ndim == 4 and patch.shape[1] == channels and patch.shape[-2:] != size:
        from timm.layers import resample_patch_embed
        weights['patch_embed.weight'] = resample_patch_embed(patch, list(size))
        fit.changed.append(f'patch embedding resampled from {patch.shape[-2]}x{patch.shape[-1]} to {size[0]}x{size[1]} pixels')


# What fine-tuning adds to a pretrained backbone, each for itself, and how the line names it
ADDITIONS = {
    'affine QK-norm weights': ('attn.q_norm.weight', 'attn.k_norm.weight'),
    'QK-norm biases': ('attn.q_norm.bias', 'attn.k_norm.bias'),
    'fc_norm': ('fc_norm.weight', 'fc_norm.bias'),
}


def identity(like: Tensor, name: str) -> Tensor:
    """Scale or shift of a LayerNorm that changes nothing."""
    return torch.ones_like(like) if name.endswith('weight') else torch.zeros_like(like)


def drop_additions_of_fine_tuning(weights: dict[str, Tensor], own: dict[str, Tensor], fit: Fit) -> None:
    """Leave out fc_norm and QK-norm where the backbone has none; QK-norm only as long as it changes nothing."""
    for what, kinds in ADDITIONS.items():
        names = [name for name in weights if name.endswith(kinds) and name not in own]
        if names and (what == 'fc_norm' or all(torch.equal(weights[name], identity(weights[name], name)) for name in names)):
            for name in names:
                del weights[name]
            fit.ignored.append(f'{len(names)} of fc_norm, which only classification has' if what == 'fc_norm'
                               else f'{len(names)} {what}, all of them the identity')


def create_additions_of_fine_tuning(weights: dict[str, Tensor], own: dict[str, Tensor], fit: Fit) -> None:
    """Add fc_norm and the affine part of QK-norm as the identity, if the checkpoint has nothing of them."""
    for what, kinds in ADDITIONS.items():
        names = [name for name in own if name.endswith(kinds)]
        if names and not any(name in weights for name in names):
            weights.update({name: identity(own[name], name) for name in names})
            fit.created.append(f'{len(names)} of fc_norm as the identity' if what == 'fc_norm' else
                               f'{len(names)} {what} as {"ones" if kinds[0].endswith("weight") else "zeros"}')
