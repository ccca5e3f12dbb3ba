"""Cosine learning-rate schedules in which the layer-wise decay takes part, as in the authors' release and paper."""
import math

from mmengine.optim import _ParamScheduler

from nepa_mm.errors import ConfigError
from nepa_mm.registry import PARAM_SCHEDULERS


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

    def __init__(self,
                 optimizer,
                 decay: float,
                 end: int,
                 begin: int = 0,
                 warmup: int = 0,
                 layerwise_warmup: bool = False,
                 decay_end: float | None = None,
                 decay_anneal: str = 'cosine',
                 **kwargs) -> None:
        if decay_anneal not in ('cosine', 'linear'):
            raise ConfigError(f'{decay_anneal!r} is unknown', 'decay_anneal', "choose from ['cosine', 'linear']")
        check_warmup(warmup, end - begin)
        for key, rate in dict(decay=decay, decay_end=1. if decay_end is None else decay_end).items():
            if not 0 < rate <= 1:
                raise ConfigError(f'{rate} is not in (0, 1]', key, 'give the decay between neighbouring layers; 1 is none')
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


def check_warmup(warmup: float, length: int) -> None:
    """A warm-up must fit into its schedule."""
    if not 0 <= warmup <= length:
        raise ConfigError(f'{warmup} is not in [0, {length}], the length of the schedule', 'warmup', 'shorten it')


def layer_decay_factor(step: int,
                       depth: int,
                       total: int,
                       warmup: int,
                       decay: float,
                       layerwise_warmup: bool = False,
                       decay_end: float | None = None,
                       decay_anneal: str = 'cosine') -> float:
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
