"""Errors that a user can mend. The tools print them as one line; ``exit_code`` tells scripts the kind."""
import json
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path


class UserError(Exception):
    """An error that a user can mend, in one line: what is wrong, the file or config key, what to do.

    Args:
        what: What is wrong, with the value; alone, all that another process said, of which the last line holds the three.
        where: Path, config key or argument.
        remedy: What to do.
    """
    exit_code = 1

    def __init__(self, what: str, where: str | None = None, remedy: str = '') -> None:
        super().__init__(what if where is None else f'{what} | {where} | {remedy}')
        if where is None:  # a loader's worker hands its traceback on as text
            message = what.strip().splitlines()[-1].removeprefix(f'{type(self).__module__}.{type(self).__name__}: ')
            what, where, remedy = (message.split(' | ', 2) + ['', ''])[:3]
        self.what, self.where, self.remedy = (' '.join(part.splitlines()) for part in (what, where, remedy))

    @property
    def line(self) -> str:
        """``what | where | remedy``."""
        return f'{self.what} | {self.where} | {self.remedy}'


class ConfigError(UserError, ValueError):
    """A setting is wrong: names its key and value, and the choices."""
    exit_code = 2


class DataError(UserError, ValueError):
    """Data is missing or unfit: names the path and the config key that led there."""
    exit_code = 3


class CheckpointError(UserError, RuntimeError):
    """A checkpoint cannot be used as asked."""
    exit_code = 4


class DivergedError(UserError, RuntimeError):
    """A loss or a gradient is no number any more, or too large: names the step, the loss or parameter and the images."""
    exit_code = 5


class StorageError(UserError, OSError):
    """A file cannot be written: names it, and the bytes that it needs and that are free."""
    exit_code = 6


class ProcessError(UserError, RuntimeError):
    """A loader's worker or another process of the training died or hangs: names it."""
    exit_code = 7


class Stopped(SystemExit):
    """A training was asked to end by a signal, and has saved its last step; the exit code is 128 + signal."""

    def __init__(self, signal: int, message: str) -> None:
        super().__init__(128 + signal)
        self.message = message


def first_line(error: Exception) -> str:
    """What an error says, in one line that stands inside another."""
    if isinstance(error, UserError):
        return f'{error.where}: {error.what}'
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def checked_choice(argument: str, value, choices):
    """The value, if it is one of the choices.

    Raises:
        ConfigError: If not.
    """
    if value not in choices:
        raise ConfigError(f'{value!r} is unknown', argument, f'choose from {list(choices)}')
    return value


@contextmanager
def one_line_errors() -> Iterator[None]:
    """End with one line and an exit code for what a user can mend; with NEPA_DEBUG=1, and for all else, with a traceback."""
    try:
        yield
    except Stopped as stopped:
        if is_first_process():
            print(f'nepa_mm: {stopped.message}', file=sys.stderr)
        leave_word(f'nepa_mm: {stopped.message}', stopped.code)
        raise
    except KeyboardInterrupt:
        line, code = 'nepa_mm: SIGINT: ended', 128 + signal.SIGINT
        if is_first_process():
            print(line, file=sys.stderr)
        leave_word(line, code)
        sys.exit(code)
    except UserError as error:
        leave_word(f'nepa_mm: error: {error.line}', error.exit_code)
        if os.environ.get('NEPA_DEBUG') == '1':
            raise
        # Every process meets a wrong setting, and the first says it; a bad file may be met by any one of them alone.
        trains_together = 'torch' in sys.modules and sys.modules['torch'].distributed.is_initialized()
        if is_first_process() or (trains_together and isinstance(error, (DataError, ProcessError))):
            print(f'nepa_mm: error: {error.line}', file=sys.stderr)
        sys.exit(error.exit_code)
    except Exception as error:
        leave_word(f'nepa_mm: error: {type(error).__name__}: {first_line(error)} | process {os.environ.get("RANK", "0")}, pid '
                   f'{os.getpid()} | see its traceback above', 1)
        raise


def run_command(function: Callable, *args):
    """Call a function of a script that was started as a command; of one that is imported, which gets None, not.

    What is wrong ends in one line, and a number that the function gives is the exit code. A script calls its ``parse_args`` so
    before the imports that take seconds, and its ``main`` at the end.
    """
    if function.__module__ != '__main__':
        return None
    with one_line_errors():
        result = function(*args)
        if isinstance(result, int):
            sys.exit(result)
    return result


def is_first_process() -> bool:
    """Whether this is the one of several processes that speaks for all."""
    return os.environ.get('RANK', '0') == '0'


def leave_word(line: str, exit_code: int) -> None:
    """Hand last line, exit code and time to torch.distributed.run, if that started this process, for tools/dist_run.py."""
    path = os.environ.get('TORCHELASTIC_ERROR_FILE')
    if path:
        word = dict(message=line, timestamp=int(time.time()), time=time.time(), exit_code=exit_code)
        Path(path).write_text(json.dumps(word))


def end_at_once(said: str) -> None:
    """End this process whatever it is doing, as Ctrl-C asks for, with one line and the exit code 130."""
    if is_first_process():
        os.write(2, f'nepa_mm: SIGINT: {said}\n'.encode())  # print() cannot be within a print()
    os._exit(128 + signal.SIGINT)


def end_on_interrupt(message: str = 'ended at once; there was nothing to save') -> None:
    """Let Ctrl-C end a command in one line, from the imports on, until there is something to save; not where it is ignored."""
    command = os.getpid()

    def end(number: int, frame) -> None:
        if os.getpid() != command:  # a process that was forked
            raise KeyboardInterrupt
        end_at_once(message)

    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
        signal.signal(signal.SIGINT, end)
