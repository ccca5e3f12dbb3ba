"""torch.distributed.run, which ends as the process that failed did: with its exit code, and its line as the last."""
import signal
import sys

from torch.distributed.elastic.multiprocessing.api import SignalException
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError, ProcessFailure
from torch.distributed.run import parse_args, run

DIED = 7  # exit code of nepa_mm.errors.ProcessError


def end(failure: ProcessFailure) -> int:
    """Say why the first of the processes failed, and give its exit code."""
    if failure.exitcode < 0:
        print(f'nepa_mm: error: a process of the training died ({failure.signal_name()}) | process {failure.local_rank}, pid '
              f'{failure.pid} | go on with --resume', file=sys.stderr)
        return DIED
    if 'message' in failure.error_file_data:  # else it ended in a traceback, or in a usage of arguments
        print(failure.message, file=sys.stderr)
    else:
        print(f'nepa_mm: error: a process of the training failed with exit code {failure.exitcode} | process '
              f'{failure.local_rank}, pid {failure.pid} | see what it says above', file=sys.stderr)
    return failure.exitcode


def hand_on(number: int, frame) -> None:
    """Let torch's launcher send all processes the signal that this one has, as it does with SIGTERM."""
    raise SignalException(f'Signal {number}', signal.Signals(number))


def main() -> int:
    signal.signal(signal.SIGUSR1, hand_on)
    try:
        run(parse_args(sys.argv[1:]))
    except ChildFailedError as error:
        return end(error.get_first_failure()[1])
    except SignalException as error:  # the processes have said what they saved
        return 128 + error.sigval
    return 0


if __name__ == '__main__':
    sys.exit(main())
