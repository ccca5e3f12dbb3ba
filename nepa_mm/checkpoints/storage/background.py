"""Checkpoints that are written while the training goes on: their state is copied once, and one thread does the rest."""
import copy
import mmap
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress

import numpy as np
import torch
from torch import Tensor, UntypedStorage

ALIGNED = 64  # bytes, to a multiple of which each copy begins


class BackgroundSaves:
    """One save at a time, by a thread, from a copy of its state; the next one waits for the last.

    A write that failed raises its error in the next call of any method, and nothing that was to follow it is done.
    """

    def __init__(self) -> None:
        self.copy, self.pool = HostCopy(), ThreadPoolExecutor(1, 'checkpoint')
        self.tasks: list[Future] = []
        self.failed = False

    def begin(self, write: Callable[[dict], None], state: dict) -> None:
        """Copy a state, once the last save is done, and have the copy written."""
        self.wait()
        copied = self.copy.of(state)
        self.submit(lambda: write(copied))

    def then(self, task: Callable[[], None]) -> None:
        """Do something when the save that is under way has succeeded; at once if there is none."""
        self.look()
        if self.tasks:
            self.submit(task)
        else:
            task()

    def submit(self, task: Callable[[], None]) -> None:
        self.tasks.append(self.pool.submit(self.run, task))

    def run(self, task: Callable[[], None]) -> None:
        """Do a task in the thread, unless one before it failed."""
        if self.failed:
            return
        try:
            task()
        except BaseException:
            self.failed = True
            raise

    def look(self) -> None:
        """Raise the error of a save that has failed meanwhile."""
        if self.failed or all(task.done() for task in self.tasks):
            self.wait()

    def wait(self) -> None:
        while self.tasks:
            error = self.tasks[0].exception()
            self.tasks.pop(0)  # not before it is done, whatever a signal does to the wait
            if error is not None:
                for task in self.tasks:
                    task.exception()
                self.tasks.clear()
                self.failed = False
                raise error


class HostCopy:
    """Copies of a state in host memory, which serves for the next copy again; pinned where the state is on a GPU."""

    def __init__(self) -> None:
        self.pool = ThreadPoolExecutor(torch.get_num_threads(), 'copy')  # each takes the next tensor, as fast as its core lets it
        self.memory: mmap.mmap | None = None
        self.pins, self.pinned = False, 0  # whether it is to be pinned; its address, if it is

    def of(self, state: dict) -> dict:
        """A copy, made when this returns, that stays until the next call. What shares memory in the state does in the copy."""
        found = list(tensors_in(state))
        tensors = [tensor for tensor in map(local, found) if has_plain_memory(tensor)]
        storages = {key_of(tensor): tensor.untyped_storage() for tensor in tensors}
        places, end = {}, 0
        for key, storage in storages.items():
            places[key], end = end, end - (-storage.nbytes() // ALIGNED) * ALIGNED
        devices = {tensor.device for tensor in tensors if tensor.is_cuda}
        self.require(end, bool(devices))
        each = map if devices else self.pool.map  # a thread of its own would have another stream
        copies = dict(zip(storages, each(self.part, places.values(), storages.values())))
        for device in devices:
            torch.cuda.current_stream(device).synchronize()
        done = {}
        for tensor in found:
            part = local(tensor)
            if has_plain_memory(part):
                place = part.storage_offset(), part.shape, part.stride()
                done[id(tensor)] = with_local(tensor, torch.empty(0, dtype=part.dtype).set_(copies[key_of(part)], *place))
        return copy.deepcopy(state, done)

    def part(self, begin: int, storage: UntypedStorage) -> UntypedStorage:
        """A copy of some memory, as a storage of its own, since torch.save writes whole ones; on a GPU it is only begun."""
        if not storage.nbytes():
            return UntypedStorage()
        part = torch.frombuffer(self.memory, dtype=torch.uint8, count=storage.nbytes(), offset=begin)
        source = torch.empty(0, dtype=torch.uint8, device=storage.device).set_(storage)
        if source.device.type == 'cpu':  # torch's own threads would wait for each other where cores are busy
            np.copyto(part.numpy(), source.numpy())
        else:
            part.copy_(source, non_blocking=True)
        return part.untyped_storage()

    def require(self, size: int, pins: bool) -> None:
        """Have so many bytes of memory. Forked loader workers do not get it: the next copy would have to leave them theirs."""
        if self.memory is not None and size <= len(self.memory) and pins == self.pins:
            return
        if self.pinned:
            torch.cuda.cudart().cudaHostUnregister(self.pinned)
        self.memory = mmap.mmap(-1, max(size, 1), flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        self.pins, self.pinned = pins, 0
        for advice in ('MADV_DONTFORK', 'MADV_HUGEPAGE'):  # of Linux, where the kernel has them
            with suppress(AttributeError, OSError):
                self.memory.madvise(getattr(mmap, advice))
        if pins:
            address = torch.frombuffer(self.memory, dtype=torch.uint8).data_ptr()
            if int(torch.cuda.cudart().cudaHostRegister(address, len(self.memory), 0)) == 0:  # else the copy takes longer
                self.pinned = address


def tensors_in(value) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, (dict, list, tuple)):
        for part in value.values() if isinstance(value, dict) else value:
            yield from tensors_in(part)


def local(tensor: Tensor) -> Tensor:
    """This process's piece of a DTensor; others as they are."""
    return tensor.to_local() if hasattr(tensor, 'to_local') else tensor


def with_local(tensor: Tensor, part: Tensor) -> Tensor:
    """A tensor's copy: the part itself, or a DTensor of the same kind that holds it, also where its mesh is of GPUs."""
    if local(tensor) is tensor:
        return part
    copied = tensor.detach()
    copied._local_tensor = part  # as torch's own copies for asynchronous saves
    return copied


def has_plain_memory(tensor: Tensor) -> bool:
    """Whether a tensor is no more than a view of a piece of memory; others are copied as Python copies them."""
    return (type(tensor) in (Tensor, torch.nn.Parameter) and tensor.layout is torch.strided and tensor.device.type != 'meta'
            and not (tensor.is_quantized or tensor.is_conj() or tensor.is_neg()))


def key_of(tensor: Tensor) -> tuple:
    """What tensors have in common that share memory."""
    storage = tensor.untyped_storage()
    return tensor.device, storage.data_ptr(), storage.nbytes()
