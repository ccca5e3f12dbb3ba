"""Mixed precision in bfloat16."""
from contextlib import contextmanager

import torch
from mmengine.optim import OptimWrapper
from torch import nn

from nepa_mm.engine.hooks.log_later import log_later
from nepa_mm.registry import OPTIM_WRAPPERS


@OPTIM_WRAPPERS.register_module()
class Bf16OptimWrapper(OptimWrapper):
    """Run the forward pass under bfloat16 autocast; parameters, gradients and optimizer stay in float32.

    mmengine's ``AmpOptimWrapper`` scales the loss against float16 underflow, which bfloat16 does not have, at the cost of a
    pass over all gradients and a wait in every step; and it refuses to run without a GPU.
    """

    @contextmanager
    def optim_context(self, model: nn.Module):
        device = next(model.parameters()).device.type
        with super().optim_context(model), torch.autocast(device, dtype=torch.bfloat16):
            yield

    def _clip_grad(self) -> None:
        """Clip as mmengine does, and log the norm without waiting for its number."""
        params = [p for group in self.optimizer.param_groups for p in group['params'] if p.requires_grad and p.grad is not None]
        if params:
            norm = self.clip_func(params, **self.clip_grad_kwargs)
            if norm is not None:  # clipping by value gives none
                log_later(self.message_hub, f'train/{self.grad_name}', norm)
