"""How FSDP2's processes on CPUs exchange parameters and gradients: in place, where gloo's own operations copy all once more.

gloo's ``all_gather`` fills a buffer of its own and copies that, and its ``reduce_scatter`` sums all of a copy in all processes.
What FSDP2 takes for these are an ``allocate`` and a call (its ``AllGather`` and ``ReduceScatter``).
"""
from collections.abc import Sequence

import torch
import torch.distributed as dist
from torch import Tensor, nn


class InPlace:
    """Where FSDP2 has the memory of an exchange from."""

    @staticmethod
    def allocate(size: Sequence[int], *, dtype: torch.dtype, device: torch.device) -> Tensor:
        return torch.empty(*size, dtype=dtype, device=device)


class GatherInPlace(InPlace):
    """Each process sends its part of the output, where FSDP2 has put it, to the others."""

    def __call__(self, output_tensor: Tensor, input_tensor: Tensor, group: dist.ProcessGroup, async_op: bool = False) -> None:
        wait_for(dist.broadcast(part, group=group, group_src=rank, async_op=True)
                 for rank, part in enumerate(output_tensor.chunk(group.size())))


class ReduceInPlace(InPlace):
    """Each process sums its part of the input, which FSDP2 needs no more, over all processes; an average is a sum divided."""

    def __call__(self, output_tensor: Tensor, input_tensor: Tensor, group: dist.ProcessGroup, op: dist.ReduceOp.RedOpType,
                 async_op: bool = False) -> None:
        parts, averages = input_tensor.chunk(group.size()), op == dist.ReduceOp.AVG
        wait_for(dist.reduce(part, group=group, group_dst=rank, op=dist.ReduceOp.SUM if averages else op, async_op=True)
                 for rank, part in enumerate(parts))
        torch.div(parts[group.rank()], group.size() if averages else 1, out=output_tensor)


def wait_for(works: Sequence[dist.Work]) -> None:
    """Begin all, then wait for each."""
    for work in list(works):
        work.wait()


def exchange_in_place(modules: Sequence[nn.Module]) -> None:
    """Have modules that FSDP2 has shared out over processes of gloo do so; PyTorch before 2.8 cannot be told, and copies."""
    for module in modules:
        if hasattr(module, 'set_custom_reduce_scatter'):
            module.set_custom_all_gather(GatherInPlace())
            module.set_custom_reduce_scatter(ReduceInPlace())
