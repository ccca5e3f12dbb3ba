"""Memory and work of a training step, counted on tensors without content: nothing is computed, no GPU is needed."""
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils.flop_counter import FlopCounterMode, sdpa_flop_count

from nepa_mm.errors import ConfigError

try:
    from torch.distributed._tools.mem_tracker import MemTracker
except ImportError:  # before torch 2.6, which `without_content` refuses
    MemTracker = object

ATEN = torch.ops.aten


class PeakTracker(MemTracker):
    """PyTorch's tracker without the peaks of single modules, which take most of its time: ten times as long for a deep model."""

    def _update_peak_stats(self, peak_state) -> None:
        for device, kinds in self._curr_mem_snap.items():
            if self._peak_mem.get(device, 0) < kinds['Total']:
                self._peak_mem[device], self._peak_mem_snap[device] = kinds['Total'], dict(kinds)


@contextmanager
def without_content() -> Iterator[FakeTensorMode]:
    """Tensors made here have a shape and no content; what is compiled runs as it is written. ConfigError before torch 2.6."""
    if torch.__version__ < (2, 6):
        raise ConfigError(f'counting memory and work needs torch 2.6 or later, this is {torch.__version__}', 'torch',
                          'use an environment with the versions of constraints.txt')
    with FakeTensorMode(allow_non_fake_inputs=True) as mode, torch.compiler.set_stance('force_eager'):
        yield mode


def peak_memory(step) -> dict[str, int]:
    """Bytes by kind ('Parameter', 'Gradient', 'Optstate', 'Activation', ..., 'Total') when they are the most in two steps.

    In the second the optimizer has its state. ``step`` is a ``TrainingStep`` as ``counted`` gives it, whose parameters are all
    trained: the tracker waits for a gradient of each.
    """
    memory = PeakTracker()
    memory.track_external(step.model, step.optim_wrapper.optimizer)
    with memory:
        step()
        memory.reset_mod_stats()  # of single modules, which it keeps for one step alone
        step()
    peak = memory.get_tracker_snapshot('peak')[torch.device('cpu')]
    return {getattr(kind, 'value', kind): size for kind, size in peak.items()}


def work(step: Callable, recomputed: bool = False) -> int:
    """Floating-point operations of a call, two for a multiplication and its addition; a causal mask halves nothing.

    Args:
        recomputed: Count what kernels do, which compute attention again for its gradients: five products of the sizes of the two
            of the forward pass. Otherwise backward is twice forward, as everywhere else.
    """
    halves = 5 if recomputed else 4
    formulas = {  # of attention on the CPU; PyTorch has those of GPU kernels alone
        ATEN._scaled_dot_product_flash_attention_for_cpu: lambda q, k, v, *args, **kwargs: sdpa_flop_count(q, k, v),
        ATEN._scaled_dot_product_flash_attention_for_cpu_backward:
            lambda grad, q, k, v, *args, **kwargs: sdpa_flop_count(q, k, v) * halves // 2}
    with FlopCounterMode(display=False, custom_mapping=formulas) as flops:
        step()
    return flops.get_total_flops()


def size(model: nn.Module, trained: bool = False) -> int:
    """Number of parameters, or of those that are trained."""
    return sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad or not trained)
