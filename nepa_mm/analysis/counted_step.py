"""Memory and work of a training step, counted on tensors without content: nothing is computed, no GPU is needed."""
from collections.abc import Callable

import torch
from torch import nn
from torch.distributed._tools.mem_tracker import MemTracker
from torch.utils.flop_counter import FlopCounterMode, sdpa_flop_count

ATEN = torch.ops.aten

# Work of attention on the CPU; PyTorch has formulas of GPU kernels alone. A causal mask halves nothing. Kernels compute attention
# again for its gradients: five products of the sizes of the two of the forward pass.
ATTENTION = {
    ATEN._scaled_dot_product_flash_attention_for_cpu: lambda q, k, v, *args, **kwargs: sdpa_flop_count(q, k, v),
    ATEN._scaled_dot_product_flash_attention_for_cpu_backward:
        lambda grad, q, k, v, *args, **kwargs: sdpa_flop_count(q, k, v) * 5 // 2,
}


def peak_memory(step: Callable, model: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, int]:
    """Bytes by kind ('Parameter', 'Gradient', 'Optstate', 'Activation', ..., 'Total') when they are the most in two steps.

    In the second the optimizer has its state. Inside PyTorch's ``FakeTensorMode``. Frozen parameters become buffers of the model.
    """
    for module in model.modules():  # the tracker waits for a gradient of every parameter
        for name, parameter in list(module._parameters.items()):
            if parameter is not None and not parameter.requires_grad:
                del module._parameters[name]
                module.register_buffer(name, parameter.detach())
    memory = MemTracker()
    memory.track_external(model, optimizer)
    with memory:
        step()
        memory.reset_mod_stats()  # of single modules, which it keeps for one step alone
        step()
    return {str(kind): size for kind, size in memory.get_tracker_snapshot('peak')[torch.device('cpu')].items()}


def work(step: Callable) -> int:
    """Floating-point operations of a call, two for a multiplication and its addition."""
    with FlopCounterMode(display=False, custom_mapping=ATTENTION) as flops:
        step()
    return flops.get_total_flops()


def size(model: nn.Module) -> int:
    """Number of parameters."""
    return sum(parameter.numel() for parameter in model.parameters())
