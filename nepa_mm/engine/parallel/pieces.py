"""Tensors of which each process has a piece: to whole ones and back, and what is computed of all pieces."""
import copy
from collections.abc import Callable
from pathlib import Path

import torch
import torch.distributed as dist
from mmengine.optim import OptimWrapper
from torch import Tensor, nn

from nepa_mm.checkpoints.storage.background import local
from nepa_mm.checkpoints.storage.sharded_files import Entry, read_tensor

try:
    from torch.distributed.tensor import DTensor, distribute_tensor
except ImportError:  # before torch 2.5
    from torch.distributed._tensor import DTensor, distribute_tensor


def whole(state, keep: bool = True):
    """A nested state with whole tensors on the CPU in place of pieces; they are gathered one after another.

    All processes must call it, with states of the same structure.

    Args:
        state: Dicts, lists and tuples of anything; what is in pieces may have been moved to the CPU.
        keep: False for a process that only gives its pieces: None stands where they were.
    """
    if isinstance(state, DTensor):
        mesh = state.device_mesh
        piece = DTensor.from_local(state.to_local().to(mesh.device_type), mesh, state.placements, run_check=False,
                                   shape=state.shape, stride=state.stride())
        gathered = piece.full_tensor()
        return gathered.detach().cpu() if keep else None
    if isinstance(state, dict):
        result = copy.copy(state)  # of the same kind, with the versions that a state dict notes
        result.update((key, whole(value, keep)) for key, value in state.items())
        return result
    return type(state)(whole(value, keep) for value in state) if type(state) in (list, tuple) else state


def piece(value: Tensor, like: DTensor) -> DTensor:
    """This process's piece of a whole tensor, shared out and placed like another one; nothing is sent."""
    return distribute_tensor(value.detach(), like.device_mesh, like.placements, src_data_rank=None)


def in_pieces(value, like: Tensor):
    """The same of what is loaded for a parameter; what is no whole tensor of its shape, or not to be shared out, as it is."""
    fits = isinstance(like, DTensor) and isinstance(value, Tensor) and not isinstance(value, DTensor)
    return piece(value, like) if fits and value.shape == like.shape else value


def load_in_pieces(model: nn.Module) -> None:
    """Let whole tensors load into a model's parameters that are in pieces, by any ``load_state_dict``; copies of it as well."""
    for module in model.modules():
        if any(isinstance(parameter, DTensor) for parameter in module.parameters(recurse=False)):
            module._register_load_state_dict_pre_hook(take_pieces, with_module=True)


def take_pieces(module: nn.Module, state_dict: dict, prefix: str, *args) -> None:
    """Before a module loads its own parameters: exchange whole tensors of a state dict for pieces."""
    for name, parameter in module.named_parameters(recurse=False):
        if prefix + name in state_dict:
            state_dict[prefix + name] = in_pieces(state_dict[prefix + name], parameter)


def read_like(parameter: DTensor) -> Callable[[Path, Entry], DTensor]:
    """A function that reads of a tensor in a folder of pieces this process's rows, were it shared out like a parameter."""
    mesh, placements = parameter.device_mesh, parameter.placements
    across = next(i for i, placement in enumerate(placements) if placement.is_shard())
    rank, count = mesh.get_local_rank(across), mesh.size(across)

    def read(folder: Path, entry: Entry) -> DTensor:
        rows = -(-entry.shape[0] // count)
        own = range(min(rank * rows, entry.shape[0]), min((rank + 1) * rows, entry.shape[0]))
        stride = torch.empty(entry.shape, device='meta').stride()
        return DTensor.from_local(read_tensor(folder, entry, own), mesh, placements, run_check=False,
                                  shape=torch.Size(entry.shape), stride=stride)

    return read


def resume_in_pieces(optim_wrapper: OptimWrapper) -> None:
    """Let the state of an optimizer of whole parameters load into one of pieces."""
    optim_wrapper.optimizer.register_load_state_dict_pre_hook(take_pieces_of_state)


def take_pieces_of_state(optimizer: torch.optim.Optimizer, state_dict: dict) -> dict:
    """Likewise, of an optimizer's state, whose parameters are numbered in the order of its groups."""
    parameters = [parameter for group in optimizer.param_groups for parameter in group['params']]
    numbers = [number for group in state_dict['param_groups'] for number in group['params']]
    state = {number: {name: in_pieces(value, parameter) for name, value in state_dict['state'][number].items()}
             for number, parameter in zip(numbers, parameters) if number in state_dict['state']}
    return {**state_dict, 'state': state}


def gradient_norms(parameters: list[nn.Parameter], norm_type: float = 2.) -> list[Tensor]:
    """Norm of each gradient; of those in pieces over all of them, for one exchange in all."""
    pieces = [local(parameter.grad) for parameter in parameters]
    if norm_type == float('inf'):  # which an empty piece does not have
        pieces = [each if each.numel() else each.new_zeros(1) for each in pieces]
    norms = torch._foreach_norm(pieces, norm_type)
    if not parameters or not isinstance(parameters[0].grad, DTensor):
        return list(norms)
    gradient = parameters[0].grad
    group = gradient.device_mesh.get_group(next(i for i, place in enumerate(gradient.placements) if place.is_shard()))
    norms = torch.stack(norms)
    if norm_type == float('inf'):
        dist.all_reduce(norms, dist.ReduceOp.MAX, group)
    else:
        norms = norms.double()**norm_type  # their range as well as they are
        dist.all_reduce(norms, dist.ReduceOp.SUM, group)
        norms = (norms**(1 / norm_type)).float()
    return list(norms)
