"""Checkpoints in folders, to which each process of a training wrote its pieces of the tensors.

``torch.distributed.checkpoint`` writes the pieces, and a ``.metadata`` that is a pickle, which is not read here.
``manifest.pth`` is the checkpoint with None in place of those tensors, and says where their bytes are. So nothing is unpickled
but plain data.
"""
import math
import zlib
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from nepa_mm.errors import CheckpointError

from .names import MANIFEST
from .pickled import allowed, plain
from .safetensors_files import ComputedTensors

KEY = 'nepa_mm_pieces'  # in it: what the folder holds
BLOCK = 1 << 24  # bytes that are read at a time


class Piece(NamedTuple):
    """Where in which file a part of a tensor lies, and which part it is."""
    file: str
    begin: int
    offsets: tuple[int, ...]
    sizes: tuple[int, ...]


class Entry(NamedTuple):
    """A tensor: its keys in the nested checkpoint, and its pieces."""
    keys: tuple
    dtype: str
    shape: tuple[int, ...]
    pieces: list[Piece]


def read_manifest(folder: Path) -> tuple[dict, list[Entry], dict[str, tuple[int, int]]]:
    """The checkpoint with None in place of what is in pieces, the tensors in pieces, and size and CRC-32 of each file.

    CheckpointError if the manifest does not say where each byte of each tensor is.
    """
    with allowed():
        checkpoint = plain(torch.load(folder / MANIFEST, map_location='cpu', weights_only=True))
    try:
        content = checkpoint.pop(KEY)
        entries = [Entry(keys, dtype, shape, [Piece(*piece) for piece in pieces])
                   for keys, dtype, shape, pieces in content['tensors']]
        files = {name: (int(size), int(checksum)) for name, (size, checksum) in content['files'].items()}
        if not all(Path(name).name == name for name in files) or not all(is_complete(entry, files) for entry in entries):
            raise ValueError('pieces that are no parts of their files or tensors')
        for entry in entries:
            place_of(checkpoint, entry.keys)
    except (KeyError, IndexError, TypeError, ValueError, AttributeError, RuntimeError) as error:
        raise CheckpointError(f'it is no manifest of a checkpoint in pieces ({error})', str(folder / MANIFEST),
                              'copy the folder again') from error
    return checkpoint, entries, files


def is_complete(entry: Entry, files: dict[str, tuple[int, int]]) -> bool:
    """Whether the pieces lie within their files, and make up the tensor."""
    width = dtype_of(entry).itemsize
    for file, begin, offsets, sizes in entry.pieces:
        inside = len(offsets) == len(sizes) == len(entry.shape) and all(
            0 <= offset and 0 <= size and offset + size <= side for offset, size, side in zip(offsets, sizes, entry.shape))
        if not inside or begin < 0 or begin + math.prod(sizes) * width > files[file][0]:
            return False
    return sum(math.prod(piece.sizes) for piece in entry.pieces) == math.prod(entry.shape)


def dtype_of(entry: Entry) -> torch.dtype:
    dtype = getattr(torch, entry.dtype, None)
    if not isinstance(dtype, torch.dtype):
        raise ValueError(f'{entry.dtype!r} is no dtype')
    return dtype


def place_of(checkpoint: dict, keys: Sequence) -> dict | list:
    """What holds the tensor of these keys, which stand for None so far."""
    place = checkpoint
    for key in keys[:-1]:
        place = place[key]
    if place[keys[-1]] is not None:
        raise ValueError(f'{keys} is no place of a tensor')
    return place


def read_tensor(folder: Path, entry: Entry, rows: range | None = None) -> Tensor:
    """One tensor, or some of its rows, put together of its pieces; nothing else is read."""
    begin, end = (rows.start, rows.stop) if rows is not None else (0, entry.shape[0] if entry.shape else 1)
    tensor = torch.empty((end - begin, *entry.shape[1:]) if entry.shape else (), dtype=dtype_of(entry))
    for file, place, offsets, sizes in entry.pieces:
        offset, count = (offsets[0], sizes[0]) if entry.shape else (0, 1)
        first, last = max(begin, offset), min(end, offset + count)
        if first >= last or not math.prod(sizes):
            continue
        beside = tuple(slice(offset, offset + size) for offset, size in zip(offsets[1:], sizes[1:]))
        part = tensor[(slice(first - begin, last - begin), *beside)] if entry.shape else tensor
        whole = part if part.is_contiguous() else torch.empty(part.shape, dtype=tensor.dtype)
        with open(folder / file, 'rb') as source:
            source.seek(place + (first - offset) * math.prod(sizes[1:]) * tensor.itemsize)
            count = source.readinto(whole.reshape(-1).view(torch.uint8).numpy().data)
        if count != whole.nbytes:
            raise CheckpointError('it is cut', str(folder / file), 'copy the folder again')
        if whole is not part:
            part.copy_(whole)
    return tensor


def read_sharded(folder: Path, map_location=None) -> dict:
    """The checkpoint, as a file of it would hold it; CheckpointError if a part is missing, or would run code.

    Args:
        map_location: A device; or a function of a folder and an :class:`Entry` that reads of the tensor what is needed.
    """
    if not callable(map_location):
        device = map_location if isinstance(map_location, (str, torch.device)) else 'cpu'
        map_location = lambda folder, entry: read_tensor(folder, entry).to(device)  # noqa: E731
    checkpoint, entries, _ = read_manifest(folder)
    for entry in entries:
        place_of(checkpoint, entry.keys)[entry.keys[-1]] = map_location(folder, entry)
    return checkpoint


def lazy_sharded(folder: Path) -> tuple[dict, dict[tuple, ComputedTensors]]:
    """The checkpoint with None in place of what is in pieces, and each of these tensors by its keys, read when asked for."""
    checkpoint, entries, _ = read_manifest(folder)
    return checkpoint, ComputedTensors({entry.keys: partial(read_tensor, folder, entry) for entry in entries})


def crc_of(path: Path) -> int:
    checksum = 0
    with open(path, 'rb') as file:
        while block := file.read(BLOCK):
            checksum = zlib.crc32(block, checksum)
    return checksum


def wrong_files(folder: Path) -> list[str]:
    """What is wrong with the files of pieces, each in a few words; the manifest itself is one of torch's files."""
    found = []
    for name, (size, checksum) in read_manifest(folder)[2].items():
        path = folder / name
        if not path.is_file():
            found.append(f'{name} is missing')
        elif path.stat().st_size != size:
            found.append(f'{name} has {path.stat().st_size:,} bytes of {size:,}')
        elif crc_of(path) != checksum:
            found.append(f'{name} is not what was written')
    return found
