"""Files of weights, read without ever running what is in them."""
import hashlib
import pickle
import re
import tarfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch
from safetensors.torch import load_file

from nepa_mm.errors import CheckpointError, first_line
from nepa_mm.new_files import NotWritten

from .names import is_sharded
from .pickled import allowed, plain
from .safetensors_files import INDEX_SUFFIX, LazyTensors
from .sharded_files import read_sharded


def is_safetensors(path: Path) -> bool:
    return path.name.endswith(('.safetensors', INDEX_SUFFIX))


def existing_file(path: str | Path) -> Path:
    """The path of a file that has content, or of a folder with a checkpoint in pieces; else CheckpointError."""
    try:
        path = Path(path).expanduser()
        if is_sharded(path):
            return path
        if path.is_dir():
            raise CheckpointError('it is a folder', str(path), f'give a file; the address of a released checkpoint is hf:{path}')
        if not path.is_file():
            raise CheckpointError('there is no such checkpoint', str(path), 'give the path of a checkpoint')
        if not path.stat().st_size:
            raise CheckpointError('it is empty (0 bytes)', str(path), 'copy or download it again')
    except CheckpointError:
        raise
    except (OSError, RuntimeError) as error:  # a name that is too long, a home of nobody
        raise CheckpointError(f'it cannot be opened ({error})', str(path), 'give the path of a checkpoint') from error
    return path


def read_checkpoint(path: str | Path, map_location=None, more: Sequence[type] = ()) -> dict:
    """Read weights or a runner's checkpoint: ``.safetensors``, the index of several, what ``torch.save`` wrote, or pieces.

    Code in a file is never run: pickles load with ``weights_only=True``, and there is no second attempt.

    Args:
        map_location: As for ``torch.load``; safetensors and pieces go to the device that it names, else to the CPU.
        more: Harmless classes that pickles may hold beside the usual.

    Returns:
        What ``torch.save`` wrote; for safetensors a dict with ``state_dict`` and ``metadata``, the text in their header.

    Raises:
        CheckpointError: If there is no such file, or it is cut, of another format or would run code.
    """
    path = existing_file(path)
    with naming(path):
        if path.is_dir():
            return read_sharded(path, map_location)
        if is_safetensors(path):
            lazy = LazyTensors(path)
            device = map_location if isinstance(map_location, (str, torch.device)) else 'cpu'
            state_dict = {name: value for file in lazy.files for name, value in load_file(file, device=str(device)).items()}
            return dict(state_dict=state_dict, metadata=lazy.metadata)
        refuse_programs(path)
        with allowed(*more):
            checkpoint = plain(torch.load(path, map_location=map_location, weights_only=True))
    if not isinstance(checkpoint, dict):
        raise CheckpointError(f'it holds a {type(checkpoint).__name__}, not a dict of weights', str(path), 'give a checkpoint')
    return checkpoint


def refuse_programs(path: Path) -> None:
    """Refuse TorchScript and torch's oldest format, a tar archive, which torch before 2.6 runs and unpacks in spite of
    ``weights_only``.
    """
    with open(path, 'rb') as file:
        is_zip = file.read(4) == b'PK\x03\x04'
    if is_zip and 'constants.pkl' in torch._C.PyTorchFileReader(str(path)).get_all_records():
        raise CheckpointError('a TorchScript program, which may run code', str(path), 'save its state_dict instead')
    if not is_zip and tarfile.is_tarfile(path):
        raise CheckpointError('it cannot be read as weights, it is cut or of another format (a tar archive)', str(path),
                              'copy or download it again')


@contextmanager
def about(address: str) -> Iterator[None]:
    """Every error that a checkpoint causes becomes one line with its address, however odd its content."""
    try:
        yield
    except NotWritten:  # of what is made of it
        raise
    except CheckpointError as error:
        if str(address) in str(error):
            raise
        raise CheckpointError(error.what, f'{address}, {error.where}', error.remedy) from error
    except Exception as error:  # of any kind: what a file can hold has no end
        reason = f'{type(error).__name__}: {first_line(error)}'
        raise CheckpointError(f'it is damaged, or no checkpoint of a NEPA model ({reason})', str(address),
                              'copy or download it again') from error


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Whatever goes wrong in reading a file becomes one line with its name."""
    try:
        yield
    except CheckpointError:
        raise
    except Exception as error:  # many kinds: a cut file, another format, code inside
        message = str(error).strip() or type(error).__name__
        code = re.search(r'GLOBAL (getattr\(.*\)|\S+)', message)
        if isinstance(error, pickle.UnpicklingError) and code:
            name = code[1].removeprefix('builtins.')[:200]
            raise CheckpointError(f'it would run {name} as it loads, which is no part of weights; nothing was run', str(path),
                                  'save only tensors and plain data, alone or as safetensors') from error
        reason = message.splitlines()[0]
        if 'weights_only' in reason or ' ' not in reason:  # torch recommends to run it; or says a number
            reason = 'it holds other than tensors and plain data'
        raise CheckpointError(f'it cannot be read as weights, it is cut or of another format ({reason})', str(path),
                              'copy or download it again') from error


def sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with open(path, 'rb') as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
