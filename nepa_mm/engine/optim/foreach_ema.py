"""The exponential moving average of all parameters at once."""
import torch
from mmengine.model import ExponentialMovingAverage
from torch import nn

from nepa_mm.engine.parallel.pieces import local
from nepa_mm.registry import MODELS


@MODELS.register_module()
class ForeachEMA(ExponentialMovingAverage):
    """mmengine's average, of the same numbers and the same checkpoints, in one kernel instead of one for each parameter.

    For ``EMAHook(ema_type='nepa_mm.ForeachEMA')``. In the loops of this package an iteration is an optimizer step, so that it is
    updated once for each. ``momentum``, ``interval``, ``device`` and ``update_buffers`` are those of mmengine's class.
    """

    def __init__(self, model: nn.Module, **kwargs) -> None:
        super().__init__(model, **kwargs)
        self.has_begun = False  # what steps says, which may be on a GPU that one would have to wait for

    @torch.no_grad()
    def update_parameters(self, model: nn.Module) -> None:
        """Move the average towards a model's parameters; at first, copy them."""
        if not self.has_begun or self.update_buffers or self.interval > 1:
            self.has_begun = True
            return super().update_parameters(model)
        pairs = [(local(mean), local(new).to(mean.device))
                 for mean, new in zip(self.avg_parameters.values(), model.parameters(), strict=True) if mean.is_floating_point()]
        torch._foreach_lerp_(*map(list, zip(*pairs)), self.momentum)
        buffers = [(kept, new.to(kept.device)) for kept, new in zip(self.module.buffers(), model.buffers(), strict=True)]
        if buffers:
            torch._foreach_copy_(*map(list, zip(*buffers)))
        self.steps += 1
