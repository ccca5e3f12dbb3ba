"""Memory of a GPU by part, for each way of training a model on several: whole on each, or in pieces.

Arithmetic on what :func:`memory_parts` counts for one GPU. What FSDP2 gathers is all that is outside the blocks, and two blocks
at a time, the one that computes and the next; gradients are exchanged likewise.
"""
from collections.abc import Sequence
from dataclasses import dataclass

from mmengine.config import Config
from torch import nn

from nepa_mm.errors import ConfigError
from nepa_mm.hosts.type_names import name_of

from .counted_step import size

FLOAT = 4  # bytes of a parameter


@dataclass(frozen=True)
class Way:
    """How parameters, gradients, optimizer state and average lie on GPUs.

    Args:
        pieces: Among how many GPUs they are shared out; 1 for whole ones on each.
        reshards: Whether parameters are gathered block by block; else all of them for the whole step.
        width: Bytes of a gathered parameter.
    """
    name: str
    pieces: int = 1
    reshards: bool = True
    width: int = FLOAT


def ways(gpus: int, gpus_of_machine: int = 8) -> list[Way]:
    """All that there are for so many GPUs; HSDP keeps a model on each machine, where there are several."""
    found = [Way('DDP')]
    if gpus > 1:
        found += [Way('FSDP2, no reshard', gpus, reshards=False), Way('FSDP2', gpus)]
    if gpus > gpus_of_machine and not gpus % gpus_of_machine:
        found.append(Way('HSDP', gpus_of_machine))
    return found


def way_of(cfg: Config, gpus: int) -> Way:
    """What a config does, by its wrapper; ConfigError if so many GPUs cannot do it."""
    wrapper = cfg.get('model_wrapper_cfg') or {}
    if name_of(wrapper) != 'FullyShardedDataParallel':
        return Way('DDP')
    replicas, reshards = wrapper.get('replicas', 1), wrapper.get('reshard_after_forward', True)
    if gpus % replicas:
        raise ConfigError(f'{replicas} groups cannot be made of {gpus} GPUs', 'model_wrapper_cfg.replicas',
                          'give a divisor, or other --gpus')
    name = 'HSDP' if replicas > 1 else 'FSDP2' if reshards else 'FSDP2, no reshard'
    return Way(name, gpus // replicas, reshards, FLOAT if wrapper.get('param_dtype') in (None, 'float32') else 2)


def blocks_of(model: nn.Module, names: Sequence[str] = ()) -> list[nn.Module]:
    """Modules of these classes; without any, the members of the list that holds most of the model."""
    if names:
        return [module for module in model.modules() if type(module).__name__ in names]
    lists = [module for module in model.modules() if isinstance(module, (nn.ModuleList, nn.Sequential)) and len(module) > 1]
    return list(max(lists, key=size)) if lists else []


def memory_of(way: Way, parts: dict[str, int], model: nn.Module, blocks: list[nn.Module], averages: int = 0,
              accumulates: bool = False, own_buckets: bool = False) -> dict[str, float]:
    """Bytes of a GPU by part, beside the batch; 'peak' is the most at a time.

    Args:
        parts: Of :func:`memory_parts`; its gradients are those that are there when activations are at their most.
        blocks: Those that FSDP2 gathers one after another.
        accumulates: Whether gradients of several batches are added up, which are all there from the second on.
        own_buckets: Whether DDP exchanges gradients from where they lie, not from a copy.
    """
    trained, largest = FLOAT * size(model, trained=True), max(map(size, blocks), default=0)
    rest = size(model) - sum(map(size, blocks))
    kept = dict(parts, gradients=trained, average=FLOAT * size(model) * averages)
    kept = {part: amount if part == 'activations' else amount / way.pieces for part, amount in kept.items()}
    at_peak = parts['gradients'] / way.pieces
    if way.pieces > 1:
        at_once = rest + 2 * largest if way.reshards else size(model)
        kept['gathered parameters'] = way.width * at_once
        kept['gradients to exchange'] = 2 * FLOAT * max(largest, rest)  # those of a block, and the copy that is sent
    elif not own_buckets:
        kept['gradients to exchange'] = trained
    if accumulates:
        kept['gradients'] = at_peak = trained  # added up whole, to be exchanged once
    return {**kept, 'peak': sum(kept.values()) - kept['gradients'] + at_peak}
