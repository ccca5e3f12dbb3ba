"""May it be written here? What a command or a converter makes is never written over what is there, nor left half done."""
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryFile

from .errors import ConfigError

UNFINISHED = 'unfinished.json'  # in a folder: the record of a command that will go on with it


def require_new(*files: Path | None, folder: Path | None = None, suffixes: Sequence[str] = (),
                overwrite: bool | None = None) -> None:
    """Refuse, before any work, what is there already, what cannot be written and names of other formats; folders are made.

    Args:
        files: To write; None is not asked for.
        folder: To write several files to: a new or an empty one, or one that is not finished.
        suffixes: That the files may have, in small letters; any if empty.
        overwrite: Whether files may be replaced; None where the command has no ``--overwrite``.

    Raises:
        ConfigError: For the first that cannot be written so.
    """
    for path in filter(None, files):
        if suffixes and path.suffix.lower() not in suffixes:
            raise ConfigError('it is of no format known here', str(path), f'end it in {", ".join(suffixes)}')
        if path.is_dir() or not overwrite:
            refuse_existing(path, ', or replace it with --overwrite' if overwrite is False else '')
        require_place(path)
    if folder is not None:
        if not folder.is_dir() or any(folder.iterdir()) and not (folder / UNFINISHED).exists():
            refuse_existing(folder)
        require_place(folder)


class NotWritten(ConfigError):
    """It is there already, or cannot be written: the fault of a name that was given, whatever was to be written."""


def refuse_existing(path: Path, otherwise: str = '') -> None:
    if os.path.lexists(path):  # a link to what is gone too: nothing takes its name
        raise NotWritten('it exists and would be written over', str(path), f'remove it or choose another name{otherwise}')


def require_place(path: Path) -> None:
    """Refuse what cannot be written, or a folder in which nothing can be; what it lies in is made."""
    place = path if path.is_dir() else path.parent
    try:
        place.mkdir(parents=True, exist_ok=True)
        (open(path, 'ab') if path.is_file() else TemporaryFile(dir=place)).close()
    except OSError as reason:
        raise NotWritten(f'it cannot be written ({reason.strerror}: {place})', str(path), 'choose another name') from reason


@contextmanager
def new_file(path: Path) -> Iterator[Path]:
    """A temporary file beside ``path`` to write to, which takes its name when it is complete.

    Raises:
        ConfigError: If ``path`` exists already, or cannot be written; nothing is written over.
    """
    require_new(path)
    temporary = path.with_name(f'.{path.name}.{os.getpid()}.tmp')
    try:
        yield temporary
        with open(temporary, 'rb') as file:
            os.fsync(file.fileno())
        link_new(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def link_new(temporary: Path, path: Path) -> None:
    """Give a complete file its name, if nobody has made one of that name meanwhile."""
    try:
        os.link(temporary, path)
    except FileExistsError:
        refuse_existing(path)
    except OSError:  # of a file system without hard links
        refuse_existing(path)
        os.rename(temporary, path)
