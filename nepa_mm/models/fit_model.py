"""Fit a checkpoint to a whole model: its backbone, and the heads around it that a new task creates."""
from mmengine.model import BaseTTAModel, is_model_wrapper
from torch import Tensor, nn

from nepa_mm.checkpoints.fitting.fit import FIRST, Fit, fit_backbone, origin_of, refuse, split_by
from nepa_mm.errors import CheckpointError

from .pretrained_backbone import PretrainedBackbone


def unwrapped(model: nn.Module) -> nn.Module:
    """The model that checkpoints hold, without what distributes or augments it."""
    while is_model_wrapper(model) or isinstance(model, BaseTTAModel):
        model = model.module
    return model


def fit_model(model: nn.Module, state_dict: dict[str, Tensor]) -> Fit:
    """Change a state dict, in place, so that it loads into a model with one of our backbones; a :class:`Fit` says what was done.

    Parts outside the backbone (``head``, ``decode_head``, ...) may be absent from the checkpoint or from the model, and a layer
    may have another number of classes; the result names them. Of a model without a backbone of ours, which is left to its own
    hooks, ``available`` is 0.

    Raises:
        CheckpointError: If the backbone does not fit, a part is there in pieces, or nothing at all belongs to the model.
    """
    origin = origin_of(state_dict)
    backbones = {f'{name}.' if name else '': module for name, module in model.named_modules()
                 if isinstance(module, PretrainedBackbone)}
    own, fit = model.state_dict(), Fit(origin.source, 0)
    # mmengine takes 'module.' off after its hooks.
    if state_dict and not origin.backbone and not any(name.removeprefix('module.') in own for name in state_dict):
        refuse(origin.source, f'none of its {len(state_dict)} tensors belongs to {type(model).__name__}', list(state_dict))
    if not backbones:
        return fit
    origin.told = True
    prefixes = tuple(backbones)
    if origin.backbone and not any(prefix + FIRST in state_dict for prefix in prefixes):  # under another prefix there
        there = next(name for name in state_dict if name.endswith(FIRST)).removesuffix(FIRST)
        for name in origin.backbone:
            state_dict[prefixes[0] + name] = state_dict.pop(there + name)
    for prefix, backbone in backbones.items():
        weights = {name.removeprefix(prefix): state_dict.pop(name) for name in list(state_dict) if name.startswith(prefix)}
        fit.add(fit_backbone(backbone, weights, origin.source, origin.settings))
        state_dict.update({prefix + name: value for name, value in weights.items()})
    outside = {name: value for name, value in own.items() if not name.startswith(prefixes)}
    patterns = [pattern for backbone in backbones.values() for pattern in backbone.allow_unmatched]
    fit_parts(outside, state_dict, prefixes, patterns, fit)
    return fit


def fit_parts(own: dict[str, Tensor], state_dict: dict[str, Tensor], prefixes: tuple[str, ...], patterns: list[str],
              fit: Fit) -> None:
    """Fit what is outside the backbone, part by part: the modules of the model's top level."""
    theirs = [name for name in state_dict if not name.startswith(prefixes)]
    for part in dict.fromkeys(name.split('.')[0] for name in own):
        names = [name for name in own if name.split('.')[0] == part]
        missing = [name for name in names if name not in state_dict and not name.endswith('num_batches_tracked')]
        # How it begins if the checkpoint lacks it: the recipes' classifiers as zeros, as the release's
        start = 'at random' if any(own[name].is_meta or own[name].any() for name in names) else 'as zeros'
        if not any(name in state_dict for name in names):
            fit.new_parts.append(f'{part} ({len(names)}) {start}')
            continue
        listed, unlisted = split_by(patterns, missing)
        if unlisted:
            refuse(fit.source, f'it lacks {len(unlisted)} of the {len(names)} tensors of {part}, such as {unlisted[0]} (list '
                   'them in allow_unmatched of the backbone to create them)', theirs)
        fit.new_parts += [f'{name} {start}' for name in listed]
        for name in names:
            there, here = state_dict.get(name, own[name]).shape, own[name].shape
            if there != here:
                if there[1:] != here[1:] and not split_by(patterns, [name])[0]:
                    refuse(fit.source, f'{name} is {list(there)} there and {list(here)} here', theirs)
                fit.new_parts.append(f'{name} {start} for {here[0]} classes ({there[0]} there)' if there[1:] == here[1:] else
                                     f'{name} {start}')
                del state_dict[name]
    unused = [name for name in theirs if name not in own]
    for part in dict.fromkeys(name.split('.')[0] for name in unused):
        fit.unused_parts.append(f'{part} ({sum(name.split(".")[0] == part for name in unused)})')
    for name in unused:
        del state_dict[name]


def require_all(fit: Fit, purpose: str, exactly: bool = False) -> None:
    """CheckpointError for weights that leave anything to chance; or, ``exactly``, that are not those of this very model."""
    created = fit.created + fit.new_parts
    if created:
        raise CheckpointError(f'{purpose} needs every weight, and these would be created: {", ".join(created)}', fit.source,
                              'give a checkpoint of this model and stage')
    differing = fit.changed + fit.ignored + fit.unused_parts
    if exactly and differing:
        raise CheckpointError(f'{purpose} needs the same model, and here would be {", ".join(differing)}', fit.source,
                              'give a checkpoint of this very model')
