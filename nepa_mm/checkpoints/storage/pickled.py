"""What pickles of mmengine's runner hold beside tensors and plain data: logged numbers.

Torch's ``weights_only=True`` reads no class that is not allowed, but it calls and fills those that are. NumPy's can be made to
read any address, and mmengine's log buffers to change all others. So each has a stand-in here that takes what a true checkpoint
has.
"""
import pickle
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest import mock

import numpy as np
import torch
from mmengine.logging import HistoryBuffer

from .names import MANIFEST

NDARRAY = 'numpy.ndarray'  # no class to call, just what empty_array is told to make


class Dtype:
    """Stands in for a NumPy dtype, of numbers or text."""

    def __init__(self, code: str, *_) -> None:
        self.dtype = np.dtype(code)
        if self.dtype.kind not in 'biufcUS' or self.dtype.fields or self.dtype.subdtype:
            raise pickle.UnpicklingError(f'GLOBAL numpy.dtype({str(code)[:50]!r})')

    def __setstate__(self, state: tuple) -> None:
        self.dtype = self.dtype.newbyteorder(state[1])  # the rest describes records, which Dtype has not


class Array(np.ndarray):
    """Stands in for an array until :func:`plain` makes it one."""

    def __setstate__(self, state: tuple) -> None:
        _, shape, kind, is_fortran, content = state
        if not isinstance(kind, Dtype) or not isinstance(content, bytes):
            raise pickle.UnpicklingError('an array of other than numbers')
        super().__setstate__((1, shape, kind.dtype, is_fortran, content))


def empty_array(kind: str, *_) -> Array:
    """What NumPy makes of an array before it is filled."""
    if kind != NDARRAY:
        raise pickle.UnpicklingError('GLOBAL numpy._core.multiarray._reconstruct')
    return np.ndarray.__new__(Array, (0, ), 'b')


def scalar(kind: Dtype, content: bytes) -> np.generic:
    return np.frombuffer(content, kind.dtype)[0]


def no_bytes() -> bytes:
    """How old pickles write an empty array's content."""
    return b''


def latin1(text: str, encoding: str) -> bytes:
    """How pickles write all other bytes; torch allows the function of Python since 2.6."""
    return text.encode('latin1')


class Log(HistoryBuffer):
    """Stands in for a log buffer, whose state would change the statistics of all of them."""

    def __setstate__(self, state: dict) -> None:
        self.__class__ = HistoryBuffer
        self.__init__(plain(state['_log_history']), plain(state['_count_history']), state['max_length'])


def statistic(owner: type, name: str) -> None:
    """All that ``getattr`` stands for in a checkpoint: the four methods that a log buffer is pickled with, unused here."""
    if owner is not Log or name not in ('min', 'max', 'mean', 'current'):
        owner = getattr(owner, '__name__', type(owner).__name__)
        raise pickle.UnpicklingError(f'GLOBAL getattr({owner[:50]}, {str(name)[:50]!r})')


# Each with the name that pickles have for it; a name without a dot is none, of what is filled and never called
ALLOWED: list[tuple[Callable, str]] = [
    (slice, 'builtins.slice'),
    (slice, '__builtin__.slice'),
    (Log, 'mmengine.logging.history_buffer.HistoryBuffer'),
    (statistic, 'builtins.getattr'),
    (statistic, '__builtin__.getattr'),
    (no_bytes, 'builtins.bytes'),
    (no_bytes, '__builtin__.bytes'),
    (latin1, '_codecs.encode'),
    (Dtype, 'numpy.dtype'),
    (NDARRAY, NDARRAY),
    (Array, 'array'),
    *((function, f'numpy.{core}.multiarray.{name}') for core in ('core', '_core')
      for function, name in ((empty_array, '_reconstruct'), (scalar, 'scalar'))),
]


@contextmanager
def allowed(*more: type) -> Iterator[None]:
    """Let torch read what is in ``ALLOWED`` and ``more``, and nothing that others have allowed, such as ``getattr`` itself."""
    others = torch.serialization.get_safe_globals()
    torch.serialization.clear_safe_globals()
    torch.serialization.add_safe_globals([*ALLOWED, *more])
    try:
        with by_given_names():
            yield
    finally:
        torch.serialization.clear_safe_globals()
        torch.serialization.add_safe_globals(others)


@contextmanager
def by_given_names() -> Iterator[None]:
    """Have torch before 2.6 look for what is allowed by the names in ``ALLOWED``, as later ones do, not by the objects' own."""
    if torch.__version__ >= (2, 6):
        yield
        return

    def by_name() -> dict[str, Callable]:
        named = (entry if isinstance(entry, tuple) else (entry, f'{entry.__module__}.{entry.__name__}')
                 for entry in torch.serialization.get_safe_globals())
        return {name: thing for thing, name in named}

    with mock.patch('torch._weights_only_unpickler._get_user_allowed_globals', by_name):  # private, of releases that are final
        yield


def read_meta(path: Path) -> dict:
    return read_lazily(path).get('meta', {})


def read_lazily(path: Path) -> dict:
    """A checkpoint whose tensors are read when they are used; one in pieces has None in place of those."""
    path = path / MANIFEST if path.is_dir() else path
    with allowed():
        return torch.load(path, map_location='cpu', mmap=True, weights_only=True)


def plain(value, seen: dict | None = None):
    """What was read, with arrays of NumPy's own in place of their stand-ins. ``seen`` keeps what is done, by identity."""
    seen = {} if seen is None else seen
    if id(value) in seen:
        return seen[id(value)][1]
    if isinstance(value, Array):
        return value.view(np.ndarray)
    if type(value) is tuple:
        seen[id(value)] = value, tuple(plain(element, seen) for element in value)
        return seen[id(value)][1]
    if isinstance(value, (dict, list)):
        seen[id(value)] = value, value
        for key, element in value.items() if isinstance(value, dict) else enumerate(value):
            value[key] = plain(element, seen)
    return value
