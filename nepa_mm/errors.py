"""Errors that a user can mend. The tools print them as one line; ``exit_code`` tells scripts the kind."""
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager


class ConfigError(ValueError):
    """A setting is wrong: names its key and value, and the choices."""
    exit_code = 2


class DataError(ValueError):
    """Data is missing or unfit: names the path and the config key that led there."""
    exit_code = 3


class CheckpointError(RuntimeError):
    """A checkpoint cannot be used as asked."""
    exit_code = 4


def first_line(error: Exception) -> str:
    """What an error of another library says, in one line."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]


@contextmanager
def one_line_errors() -> Iterator[None]:
    """End with one line and an exit code for what a user can mend; with NEPA_DEBUG=1, and for all else, with a traceback."""
    try:
        yield
    except (ConfigError, DataError, CheckpointError) as error:
        if os.environ.get('NEPA_DEBUG') == '1':
            raise
        # From a loader's worker comes a traceback that ends in the message.
        message = str(error).strip().splitlines()[-1].removeprefix(f'{type(error).__module__}.{type(error).__name__}: ')
        # Every process meets a wrong setting, and the first says it; a bad file may be met by any one of them alone.
        trains_together = 'torch' in sys.modules and sys.modules['torch'].distributed.is_initialized()
        if os.environ.get('RANK', '0') == '0' or (trains_together and isinstance(error, DataError)):
            print(f'nepa_mm: error: {message}', file=sys.stderr)
        sys.exit(error.exit_code)
