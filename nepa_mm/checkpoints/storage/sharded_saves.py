"""Checkpoints that all processes write, each its pieces, the first one the rest, to a folder that is whole or not there."""
import copy
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from zipfile import ZipFile
from zlib import crc32

import torch.distributed as dist
import torch.distributed.checkpoint as dcp
from torch.distributed.checkpoint.api import CheckpointException

from nepa_mm.errors import StorageError, UserError, first_line

from .durable import TEMPORARY, cannot_write, is_whole, remove, sync_folder, take_name, write_checkpoint
from .sharded_files import KEY, MANIFEST, Entry, Piece, crc_of

try:
    from torch.distributed.tensor import DTensor
except ImportError:  # before torch 2.5
    from torch.distributed._tensor import DTensor


def split(state, keys: tuple = ()) -> tuple[object, dict[tuple, DTensor]]:
    """A nested state with None in place of each tensor of which processes have pieces, and these tensors by their keys."""
    if isinstance(state, DTensor):
        return None, {keys: state}
    if not isinstance(state, (dict, list, tuple)):
        return state, {}
    rest = copy.copy(state) if isinstance(state, dict) else list(state)  # with the versions that a state dict notes
    found = {}
    for key, value in state.items() if isinstance(state, dict) else enumerate(state):
        rest[key], more = split(value, (*keys, key))
        found.update(more)
    return (rest, found) if found else (state, {})


def write_sharded(state: dict, path: Path, group: dist.ProcessGroup) -> None:
    """Write a checkpoint to a folder, which takes its name once all of it is on disk and was read back whole.

    All processes of the group must call it, with states of the same structure. What is not in pieces is the first one's.

    Args:
        state: The checkpoint, whose DTensors are in pieces.
        path: The folder, on a disk that all processes share.
        group: On which they agree, of a backend of the CPU.

    Raises:
        StorageError: In all processes, if one cannot write or read back its part; an older folder or file stays as it was.
    """
    temporary, rank = path.with_name(TEMPORARY.format(path.name)), dist.get_rank(group)
    rest, tensors = split(state)
    named = {'.'.join(map(str, keys)): tensor for keys, tensor in tensors.items()}
    try:
        agree(group, lambda: make_folder(temporary) if rank == 0 else None)
        try:
            metadata = dcp.save(named, process_group=group, storage_writer=dcp.FileSystemWriter(temporary))
        except CheckpointException as error:
            raise cannot_write(path, state, next(iter(error.failures.values()))[0]) from error
        parts = agree(group, lambda: read_back(temporary, metadata, rank))
        agree(group, lambda: finish(rest, dict(zip(named, tensors)), metadata, parts, temporary, path) if rank == 0 else None)
    except StorageError:
        if rank == 0:
            remove(temporary)
        raise


def agree(group: dist.ProcessGroup, task: Callable[[], object]) -> list:
    """What each process's task gives back; the first error of any is raised in all."""
    try:
        result = task()
    except Exception as error:
        result = error
    results = [None] * dist.get_world_size(group)
    dist.all_gather_object(results, result if not isinstance(result, Exception) else as_user_error(result), group)
    for each in results:
        if isinstance(each, Exception):
            raise each
    return results


def as_user_error(error: Exception) -> UserError:
    """One that tells other processes what was wrong; their traceback is of no use there."""
    return error if isinstance(error, UserError) else StorageError(
        f'it cannot be written ({first_line(error)})', 'process 0' if dist.get_rank() == 0 else f'process {dist.get_rank()}',
        'look at the disk')


def make_folder(temporary: Path) -> None:
    remove(temporary)
    temporary.mkdir(parents=True)


def read_back(folder: Path, metadata: dcp.Metadata, rank: int) -> dict:
    """Read what this process wrote: each part has the check sum with which it was written.

    Returns:
        Size and check sum of each of its files, and by file and begin of a part where the bytes of its tensor begin.
    """
    parts = {}
    for info in metadata.storage_data.values():
        if info.relative_path.startswith(f'__{rank}_'):
            parts.setdefault(info.relative_path, []).append((info.offset, info.length))
    files, begins = {}, {}
    for name, places in parts.items():
        size = checksum = 0
        with open(folder / name, 'rb') as file:
            for begin, length in sorted(places):
                content = file.read(length)
                with ZipFile(BytesIO(content)) as archive:
                    wrong = [entry.filename for entry in archive.infolist() if not is_whole(archive, entry)]
                    entry = next(entry for entry in archive.infolist() if entry.filename.endswith('data/0'))
                    header = content[entry.header_offset + 26:entry.header_offset + 30]  # lengths of the name and what follows
                if begin != size or wrong:
                    raise StorageError(f'it was written, but is not what was read back (part {begin} of {name})', str(folder),
                                       'look at the disk')
                begins[name, begin] = begin + entry.header_offset + 30 + int.from_bytes(header[:2], 'little') + int.from_bytes(
                    header[2:], 'little')
                size, checksum = size + length, crc32(content, checksum)
        files[name] = size, checksum
    return dict(files=files, begins=begins)


def finish(rest: dict, keys: dict[str, tuple], metadata: dcp.Metadata, parts: list[dict], temporary: Path, path: Path) -> None:
    """Write the manifest, and give the folder its name."""
    files = {name: facts for part in parts for name, facts in part['files'].items()}
    begins = {place: begin for part in parts for place, begin in part['begins'].items()}
    missing = [name for name, (size, _) in files.items()
               if not (temporary / name).is_file() or (temporary / name).stat().st_size != size]
    if missing:
        raise StorageError(f'process 0 does not find {missing[0]}, which another wrote', str(temporary),
                           'save to a disk that all machines share, or with default_hooks.checkpoint.sharded=False')
    entries = {name: Entry(keys[name], str(facts.properties.dtype).removeprefix('torch.'), tuple(facts.size), [])
               for name, facts in metadata.state_dict_metadata.items()}
    for index, info in metadata.storage_data.items():
        chunk = next(chunk for chunk in metadata.state_dict_metadata[index.fqn].chunks if chunk.offsets == index.offset)
        entries[index.fqn].pieces.append(tuple(Piece(
            info.relative_path, begins[info.relative_path, info.offset], tuple(chunk.offsets), tuple(chunk.sizes))))
    metadata_file = temporary / '.metadata'  # for torch's own readers
    files[metadata_file.name] = metadata_file.stat().st_size, crc_of(metadata_file)
    write_checkpoint({**rest, KEY: dict(files=files, tensors=list(map(tuple, entries.values())))}, temporary / MANIFEST)
    sync_folder(temporary)
    take_name(temporary, path)
