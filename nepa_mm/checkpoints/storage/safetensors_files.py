"""Safetensors, tensor by tensor: a conversion of any size needs the memory of its largest tensor."""
import json
from collections.abc import Callable, Mapping
from functools import cache, partial
from pathlib import Path

import torch
from safetensors import SafetensorError, __version__, safe_open
from safetensors.torch import save
from torch import Tensor

from nepa_mm.errors import CheckpointError

INDEX_SUFFIX = '.safetensors.index.json'  # of weights in several files


class ComputedTensors(Mapping):
    """Tensors by name, each computed when it is asked for and released with it."""

    def __init__(self, makers: dict[str, Callable[[], Tensor]]) -> None:
        self.makers = makers

    def __getitem__(self, name: str) -> Tensor:
        return self.makers[name]()

    def __contains__(self, name) -> bool:  # Mapping's would compute the tensor
        return name in self.makers

    def __iter__(self):
        return iter(self.makers)

    def __len__(self) -> int:
        return len(self.makers)


class LazyTensors(ComputedTensors):
    """Tensors by name of a ``.safetensors`` file, or of those of an index, each read when it is asked for."""

    def __init__(self, path: Path) -> None:
        super().__init__({})
        self.files = [path] if path.name.endswith('.safetensors') else shards(path)
        self.metadata: dict[str, str] = {}
        for file in self.files:
            try:
                with safe_open(file, framework='pt') as weights:
                    self.makers.update({name: partial(read_tensor, file, name) for name in weights.keys()})
                    self.metadata.update(weights.metadata() or {})
            except SafetensorError as error:
                raise CheckpointError(f'it cannot be read as weights, it is cut or of another format ({error})', str(file),
                                      'copy or download it again') from error


def read_tensor(file: Path, name: str) -> Tensor:
    """One tensor of a file, which is opened for it alone: one that stays open keeps every page that was read."""
    with safe_open(file, framework='pt') as weights:
        return weights.get_tensor(name)


def shards(index: Path) -> list[Path]:
    """Files that an index names; CheckpointError for no index, or a file that is missing or outside its folder."""
    try:
        names = sorted(set(json.loads(index.read_text())['weight_map'].values()))
        if not names:
            raise ValueError('no names')
    except (ValueError, KeyError, AttributeError, TypeError, RecursionError) as error:
        raise CheckpointError('no index of safetensors: its weight_map does not map names', str(index),
                              'download it again') from error
    for name in names:
        if not isinstance(name, str) or '\\' in name or Path(name).name != name:
            raise CheckpointError(f'it names {name!r}, which is not a file in its folder; refused', str(index),
                                  'download it again')
        if not (index.parent / name).is_file():
            raise CheckpointError(f'it names {name!r}, which is not there', str(index), 'download that file as well')
    return [index.parent / name for name in names]


def write_safetensors(path: Path, tensors: Mapping[str, Tensor], metadata: dict[str, str]) -> None:
    """Write tensors one by one; ``safetensors.torch.save_file`` would want all of them in memory.

    Each is asked for twice, for its kind and for its bytes. CheckpointError for one that the format has no place for.
    """
    kinds = {}
    for name in tensors:
        tensor = tensors[name]
        if name == '__metadata__' or dtype_in_files(tensor.dtype) is None:
            raise CheckpointError(f'safetensors {__version__} have no place for {tensor.dtype}', f'tensor {name!r}',
                                  'write a .pth instead')
        kinds[name] = tensor.dtype, list(tensor.shape), tensor.numel() * tensor.element_size()
    header, end = {'__metadata__': metadata}, 0
    # Largest elements first keeps all of them aligned, whatever the shapes.
    names = sorted(kinds, key=lambda name: (-kinds[name][0].itemsize, name))
    for name in names:
        dtype, shape, size = kinds[name]
        begin, end = end, end + size
        code, packed = dtype_in_files(dtype)
        header[name] = dict(dtype=code, shape=[*shape[:-1], *[side * packed for side in shape[-1:]]], data_offsets=[begin, end])
    text = json.dumps(header, separators=(',', ':')).encode()
    text += b' ' * (-len(text) % 8)
    with open(path, 'wb') as file:
        file.write(len(text).to_bytes(8, 'little') + text)
        for name in names:
            file.write(tensor_bytes(tensors[name]))


@cache
def dtype_in_files(dtype: torch.dtype) -> tuple[str, int] | None:
    """The format's name for a kind of number and how many of them are in one of PyTorch's, as the library itself writes them;
    None if it has none.
    """
    try:
        written = save({'': torch.empty((1, 1), dtype=dtype)})
    except (KeyError, RuntimeError, SafetensorError, TypeError, ValueError):
        return None
    entry = json.loads(written[8:8 + int.from_bytes(written[:8], 'little')])['']
    return entry['dtype'], entry['shape'][-1]


def tensor_bytes(tensor: Tensor) -> memoryview:
    return tensor.contiguous().reshape(-1).view(torch.uint8).numpy().data
