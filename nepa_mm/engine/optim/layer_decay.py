"""Layer-wise learning-rate decay: parameter groups by depth, and schedules in which the decay takes part.

For classifiers, self-supervisors and segmentors alike, as in the authors' release and paper.
"""
import math
from collections import defaultdict

from mmengine.optim import DefaultOptimWrapperConstructor, _ParamScheduler
from torch import nn

from nepa_mm.errors import ConfigError, checked_choice
from nepa_mm.registry import OPTIM_WRAPPER_CONSTRUCTORS, PARAM_SCHEDULERS

POOLED_NORMS = ('backbone.fc_norm.', 'backbone.ln2.')  # LayerNorm of the mean patch token: ours, that of mmpretrain's ViTs


@OPTIM_WRAPPER_CONSTRUCTORS.register_module()
class LayerDecayOptimWrapperConstructor(DefaultOptimWrapperConstructor):
    """Group parameters by depth and rank: lower layers learn slower, one-dimensional parameters take no weight decay.

    mmpretrain's constructor needs ``get_layer_depth`` on the whole model, which mmseg's EncoderDecoder lacks; mmseg's knows
    three backbones by name. This one asks the backbone, whatever holds it, and makes one group for each pair of depth and
    weight decay.

    Depth is the release's, whatever the backbone: 0 for head, neck, final norm, the norm of the pooled patches and the last
    block; L - 1 - i for block i of L; L for the patch embedding, [CLS] and position embedding. mmpretrain's backbones count
    one more than that (BEiT's and MAE's convention), so that their last block would already learn slower than the head; the
    surplus is taken off. BEiT's tables of relative positions are as deep as their block; one that all blocks share has
    depth 0, as in BEiT.

    ``paramwise_cfg`` takes

    - ``layer_decay_rate``: the learning rate at depth d is ``lr * layer_decay_rate ** d``. Leave it at 1 when
      :class:`LayerDecayCosineLR` applies the decay.
    - ``head_lr``: learning rate of head and final norm, whatever their depth. Final norm means the one-dimensional parameters
      of depth 0 outside the blocks (``norm`` of a NEPAViT, ``ln1`` of mmpretrain's ViTs), the norm of the pooled patches
      excepted. :class:`AccumulatingEpochLoop` never scales it.

    Raises:
        ConfigError: If the backbone has no ``get_layer_depth``, for an unknown key, or a decay that is not in (0, 1], or
            without ``lr``.
    """

    KEYS = ('layer_decay_rate', 'head_lr')

    def _validate_cfg(self) -> None:
        unknown = set(self.paramwise_cfg) - set(self.KEYS)
        if unknown:
            raise ConfigError(f'unknown keys {sorted(unknown)}', 'optim_wrapper.paramwise_cfg', f'choose from {list(self.KEYS)}')
        check_decay(self.paramwise_cfg.get('layer_decay_rate', 1.), 'layer_decay_rate')
        # The parent skips the grouping for an empty dict.
        self.paramwise_cfg = {'layer_decay_rate': 1., **self.paramwise_cfg}

    def add_params(self, params: list[dict], module: nn.Module, **kwargs) -> None:
        backbone = getattr(module, 'backbone', None)
        if not hasattr(backbone, 'get_layer_depth'):
            raise ConfigError(f'backbone {type(backbone).__name__} has no get_layer_depth(param_name, prefix), which layer-wise '
                              'decay needs', 'optim_wrapper.constructor', 'use another backbone or another constructor')
        if not isinstance(self.base_lr, (int, float)):
            raise ConfigError(f'{self.base_lr!r} is no number', 'optim_wrapper.optimizer.lr', 'give the rate that decays')
        rate, head_lr = self.paramwise_cfg['layer_decay_rate'], self.paramwise_cfg.get('head_lr')
        depths = release_depths(backbone)
        groups = defaultdict(list)
        for name, param in module.named_parameters():
            if not param.requires_grad:
                continue
            depth = depths.get(name, 0)
            is_final_norm = depth == 0 and param.ndim == 1 and not is_in_block(name) and not name.startswith(POOLED_NORMS)
            is_head = head_lr is not None and (name not in depths or is_final_norm)
            weight_decay = 0. if param.ndim <= 1 else self.base_wd or 0.
            groups[depth, is_head, weight_decay].append(param)
        for (depth, is_head, weight_decay), members in groups.items():
            lr = head_lr if is_head else self.base_lr * rate**depth
            params.append(dict(params=members, lr=lr, weight_decay=weight_decay, layer_depth=depth, layer_decay_rate=rate))


def release_depths(backbone: nn.Module) -> dict[str, int]:
    """Depth of each parameter ``backbone.*``, counted so that the last block has depth 0."""
    depths = {}
    for name, _ in backbone.named_parameters(prefix='backbone'):
        layer, num_layers = backbone.get_layer_depth(name, 'backbone.')
        depths[name] = num_layers - 1 - layer
    surplus = min((depth for name, depth in depths.items() if is_in_block(name)), default=0)
    return {name: max(0, depth - surplus) for name, depth in depths.items()}


def is_in_block(name: str) -> bool:
    """Whether a parameter belongs to a numbered module, such as ``layers.3``: a block or a stage."""
    return any(part.isdigit() for part in name.split('.'))


@PARAM_SCHEDULERS.register_module()
class LayerDecayCosineLR(_ParamScheduler):
    """Linear warm-up, then cosine to zero, times ``decay ** depth`` of each parameter group.

    The groups come from :class:`LayerDecayOptimWrapperConstructor` with ``layer_decay_rate`` left at 1. The recipes are

    - release, ``llrd_cosine_warmup``: fixed decay, ``layerwise_warmup=True``;
    - release, ``llrd_cosine``: ``decay_end`` reached along a cosine;
    - paper, section 4.1: ``decay_end=1.0, decay_anneal='linear'``.

    Args:
        optimizer: Wrapped optimizer, given by the runner.
        decay: Decay between neighbouring depths; at the first step if it moves.
        end: End of the schedule, in steps, or epochs with ``by_epoch=True, convert_to_iter_based=True``.
        begin: Its start, in the same unit.
        warmup: Length of the warm-up in the same unit.
        layerwise_warmup: Warm each group up for ``warmup * (1 - decay ** depth)``, at least one step.
        decay_end: Decay at the end of training; None keeps it fixed.
        decay_anneal: 'cosine' or 'linear' way from ``decay`` to ``decay_end``.
        **kwargs: ``by_epoch``, ``last_step``, ... of mmengine's schedulers.
    """

    def __init__(self, optimizer, decay: float, end: int, begin: int = 0, warmup: int = 0, layerwise_warmup: bool = False,
                 decay_end: float | None = None, decay_anneal: str = 'cosine', **kwargs) -> None:
        checked_choice('decay_anneal', decay_anneal, ('cosine', 'linear'))
        check_warmup(warmup, end - begin)
        check_decay(decay, 'decay')
        check_decay(1. if decay_end is None else decay_end, 'decay_end')
        for group in getattr(optimizer, 'optimizer', optimizer).param_groups:
            if group.get('layer_decay_rate') != 1.:
                raise ConfigError('LayerDecayCosineLR applies the decay itself and needs groups without it, not of '
                                  f'{group.get("layer_decay_rate")}', 'optim_wrapper.constructor',
                                  "set 'nepa_mm.LayerDecayOptimWrapperConstructor' and leave layer_decay_rate at 1")
        self.warmup = warmup
        self.settings = dict(total=end - begin, warmup=warmup, decay=decay, layerwise_warmup=layerwise_warmup,
                             decay_end=decay_end, decay_anneal=decay_anneal)
        super().__init__(optimizer, 'lr', begin=begin, end=end, **kwargs)

    @classmethod
    def build_iter_from_epoch(cls, *args, end, epoch_length, warmup=0, begin=0, by_epoch=True, **kwargs):
        """Build with lengths given in epochs, for steps."""
        check_warmup(warmup, end - begin)  # here too: the error has the value that the config has
        return cls(*args, begin=begin * epoch_length, end=end * epoch_length, warmup=round(warmup * epoch_length),
                   by_epoch=False, **kwargs)

    def _get_value(self) -> list[float]:
        # mmengine appends a group that only carries the base rate to the log; it has no depth.
        return [base * layer_decay_factor(self.last_step, group.get('layer_depth', 0), **self.settings)
                for base, group in zip(self.base_values, self.optimizer.param_groups)]


def check_decay(rate: float, key: str) -> None:
    """Decay is a share."""
    if not 0 < rate <= 1:
        raise ConfigError(f'{rate} is not in (0, 1]', key, 'give the decay between neighbouring layers; 1 is none')


def check_warmup(warmup: float, length: int) -> None:
    """A warm-up must fit into its schedule."""
    if not 0 <= warmup <= length:
        raise ConfigError(f'{warmup} is not in [0, {length}], the length of the schedule', 'warmup', 'shorten it')


def layer_decay_factor(step: int, depth: int, total: int, warmup: int, decay: float, layerwise_warmup: bool = False,
                       decay_end: float | None = None, decay_anneal: str = 'cosine') -> float:
    """Factor of the base learning rate at a step, for parameters at a depth."""
    if decay_end is not None:
        progress = step / total
        decay += (decay_end - decay) * (progress if decay_anneal == 'linear' else 1 - cosine(progress))
    factor = decay**depth
    if layerwise_warmup and warmup:
        # Deeper below the head, smaller factor, longer warm-up
        warmup = max(1, warmup - round(warmup * min(factor, 1.)))
    if step < warmup:
        return factor * step / warmup
    return factor * cosine(min((step - warmup) / max(1, total - warmup), 1.))


def cosine(progress: float) -> float:
    """From 1 at progress 0 to 0 at progress 1."""
    return 0.5 * (1 + math.cos(math.pi * progress))
