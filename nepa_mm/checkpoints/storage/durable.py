"""Checkpoints of a running training: complete on disk or not there, checked before they count."""
import os
import shutil
import struct
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from itertools import chain
from pathlib import Path
from zipfile import BadZipFile, ZipFile, ZipInfo

import torch

from nepa_mm.errors import CheckpointError, StorageError, first_line

from .background import tensors_in
from .files import naming
from .names import checkpoints_in
from .sharded_files import MANIFEST, wrong_files

REMEDY = 'name another, or let --resume choose'
TEMPORARY = '.{}.tmp'
REPLACED = '{}.replaced'  # a folder or file that another one is about to take the name of
PIECE = 1 << 24  # bytes that are read at a time


def write_checkpoint(checkpoint: dict, path: Path) -> None:
    """Write what ``torch.save`` writes, to a temporary file that takes its name once it is on disk and was read back whole.

    A file of that name stays as it is until then. Tensors go to the file one after another, without a copy of all in memory.

    Raises:
        StorageError: If the disk is full or fails; no part of the file is left.
    """
    temporary = path.with_name(TEMPORARY.format(path.name))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        torch.save(checkpoint, temporary)
        with open(temporary, 'rb') as file:
            os.fsync(file.fileno())
        check_whole(temporary)
        take_name(temporary, path)
    except (OSError, RuntimeError) as error:  # torch's writer says RuntimeError
        with suppress(OSError):  # of a disk or folder that does not let it, which the error says already
            temporary.unlink()
        if isinstance(error, CheckpointError):
            raise StorageError(
                f'it was written, but is not what was read back ({error.what})', str(path), 'look at the disk') from error
        raise cannot_write(path, checkpoint, error) from error


def cannot_write(path: Path, state: dict, error: BaseException) -> StorageError:
    """What to say then, with the bytes that it needs."""
    return StorageError(f'it cannot be written: it needs {size_of(state):,} bytes, and {free(path.parent):,} are free '
                        f'({first_line(error)})', str(path), 'make room and --resume; older checkpoints are as they were')


def take_name(temporary: Path, path: Path) -> None:
    """Give a file or folder that is on disk its name; what had that name before is there until it has."""
    replaced = path.with_name(REPLACED.format(path.name))
    if temporary.is_dir() and path.exists() or path.is_dir():  # which one call does for two files alone
        remove(replaced)
        os.replace(path, replaced)
    os.replace(temporary, path)
    sync_folder(path.parent)
    remove(replaced)


def sync_folder(folder: Path) -> None:
    """Have the names in a folder on disk: it is there by itself, apart from its files."""
    opened = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)


def remove(path: Path) -> None:
    """Remove a checkpoint, a file or a folder, if it is there; of a folder no half is left under its name."""
    if path.is_dir():
        going = path if path.name.startswith('.') else path.with_name(TEMPORARY.format(f'{path.name}.pth'))
        if going != path:
            remove(going)
            os.replace(path, going)
        shutil.rmtree(going)
    else:
        path.unlink(missing_ok=True)


def remove_temporaries(folder: Path) -> None:
    """Remove what a process that was killed during :func:`write_checkpoint` left behind."""
    for path in folder.glob(TEMPORARY.format('*.pth')):
        remove(path)
    for path in folder.glob(REPLACED.format('*.pth')):
        if path.with_name(path.name.removesuffix(REPLACED.format(''))).exists():
            remove(path)


def check_whole(path: Path) -> None:
    """Compare every part of a checkpoint with its check sum (CRC-32), which ``torch.load`` does not.

    CheckpointError if a byte of the weights differs, or a file is cut, empty, unreadable or no such file.
    """
    if path.is_dir():
        if not (path / MANIFEST).is_file():
            raise CheckpointError(f'a folder without {MANIFEST}', str(path), REMEDY)
        check_file(path / MANIFEST)
        with naming(path / MANIFEST):
            wrong = wrong_files(path)
        if wrong:
            raise CheckpointError(f'of its files, {"; ".join(wrong[:3])}', str(path), REMEDY)
    else:
        check_file(path)


def check_file(path: Path) -> None:
    """The same of a file of ``torch.save``."""
    try:
        if not path.stat().st_size:
            raise CheckpointError('it is empty (0 bytes)', str(path), REMEDY)
        with ZipFile(path) as archive:
            entries = archive.infolist()
        torch._C.PyTorchFileReader(str(path))  # reads parts of the list of entries that ZipFile takes from elsewhere
        threads = min(4, os.cpu_count() or 1)
        with ThreadPoolExecutor(threads) as pool:  # zlib lets other threads run
            found = pool.map(partial(wrong_parts, path, step=threads), range(threads))
            wrong = sorted(chain.from_iterable(found))
    except CheckpointError:
        raise
    except OSError as error:
        raise CheckpointError(f'it cannot be read ({error.strerror})', str(path), REMEDY) from error
    except (BadZipFile, NotImplementedError, RuntimeError, struct.error, ValueError) as error:
        raise CheckpointError(f'it is cut, or no checkpoint ({first_line(error)})', str(path), REMEDY) from error
    if wrong:
        raise CheckpointError(f'{len(wrong)} of its {len(entries)} parts are not what was written, first '
                              f'{entries[wrong[0]].filename!r}', str(path), REMEDY)


def wrong_parts(path: Path, first: int, step: int) -> list[int]:
    """Numbers of the parts of a zip file, each so many'th, that are not whole.

    By an archive of one's own: since Python 3.12 threads that share one read parts of each other (findings/zipfile_threads.sh).
    """
    with ZipFile(path) as archive:
        entries = archive.infolist()
        return [number for number in range(first, len(entries), step) if not is_whole(archive, entries[number])]


def is_whole(archive: ZipFile, entry: ZipInfo) -> bool:
    """Whether a part of a zip file has its check sum, and the name that the list of parts gives it."""
    try:
        with archive.open(entry) as file:
            while file.read(PIECE):
                pass
    except (BadZipFile, EOFError, zlib.error):
        return False
    return True


def newest_whole(folders: list[Path], warn: Callable[[str], None], since: float = 0.) -> Path | None:
    """The newest checkpoint of a run's folders whose every byte is as written; each newer one that is not is named to ``warn``.

    Those that were written before ``since``, in seconds since the epoch, are passed over. None if the folders hold no checkpoint
    at all; if none is whole, a CheckpointError names each and what is wrong with it.
    """
    wrong = []
    for path in checkpoints_in(*folders):
        if path.stat().st_mtime < since:
            continue
        try:
            check_whole(path)
        except CheckpointError as error:
            wrong.append(f'{path.name}: {error.what}')
            continue
        for text in wrong:
            warn(f'{text}; resuming from {path.name}, the newest that is whole')
        return path
    if wrong:
        raise CheckpointError(f'no checkpoint is whole, and nothing was changed: {"; ".join(wrong)}', str(folders[0]),
                              'copy one back, or start anew in another --work-dir')
    return None


def size_of(value) -> int:
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors_in(value))


def free(folder: Path) -> int:
    """Bytes that can be written there, or where it would be made."""
    return shutil.disk_usage(next(each for each in (folder, *folder.absolute().parents) if each.is_dir())).free
