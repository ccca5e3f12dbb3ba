"""torch.distributed.run, which ends as the process that failed first did: with its exit code, and its line as the last."""
import os
import signal
import socket
import sys
from types import FrameType

if __name__ == '__main__':
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # while torch is imported

import torch.distributed as dist
from torch.distributed.elastic.multiprocessing import api
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError, ProcessFailure
from torch.distributed.run import parse_args, run

DIED = 7  # exit code of nepa_mm.errors.ProcessError, also of those that lost another process
interrupts = 0


def first_of(failures: list[ProcessFailure]) -> ProcessFailure:
    """The process that failed first; one that lost another, or was stopped, only follows."""
    def order(failure: ProcessFailure) -> tuple[int, float]:
        code = exit_code(failure)
        follows = 2 if code >= 128 or code == -signal.SIGTERM else int(code == DIED)
        return follows, failure.error_file_data.get('time', failure.timestamp)

    return min(failures, key=order)


def exit_code(failure: ProcessFailure) -> int:
    """As it said itself; the launcher may have killed it meanwhile."""
    return failure.error_file_data.get('exit_code', failure.exitcode)


def end(failure: ProcessFailure) -> int:
    """Say why a process failed, and give its exit code."""
    code = exit_code(failure)
    where = f'process {failure.local_rank}, pid {failure.pid}'
    if 'exit_code' in failure.error_file_data:
        print(failure.message, file=sys.stderr)
    elif code < 0:
        print(f'nepa_mm: error: a process of the training died ({failure.signal_name()}) | {where} | go on with --resume',
              file=sys.stderr)
        return DIED
    else:  # in a usage of arguments, or before it could say more
        print(f'nepa_mm: error: a process of the training failed with exit code {code} | {where} | see what it says above',
              file=sys.stderr)
    return code


def hand_on(number: int, frame: FrameType | None) -> None:
    """Let torch's launcher send all processes the signal that this one has, and wait for them; a second Ctrl-C does not wait."""
    global interrupts
    interrupts += number == signal.SIGINT
    if interrupts > 1:
        while frame is not None:
            for handler in getattr(frame.f_locals.get('self'), 'subprocess_handlers', {}).values():
                if handler.proc.poll() is None:
                    os.killpg(handler.proc.pid, signal.SIGKILL)
            frame = frame.f_back
        os._exit(128 + number)
    raise api.SignalException(f'Signal {number}', signal.Signals(number))


def free_port() -> int:
    """A port that nobody listens at."""
    with socket.socket() as server:
        server.bind(('127.0.0.1', 0))
        return server.getsockname()[1]


def main() -> int:
    api._terminate_process_handler = hand_on  # for the signals that it hands on itself
    for number in (signal.SIGUSR1, signal.SIGINT):
        signal.signal(number, hand_on)
    args = parse_args(sys.argv[1:])
    args.master_port = args.master_port or free_port()
    try:
        run(args)
    except ChildFailedError as error:
        return end(first_of(list(error.failures.values())))
    except api.SignalException as error:  # the processes have said what they saved
        return 128 + error.sigval
    except dist.DistNetworkError as error:
        if 'EADDRINUSE' not in str(error):
            raise
        print(f'nepa_mm: error: another program listens at port {args.master_port} | PORT | give another one; on one machine '
              'none is needed', file=sys.stderr)
        return 2
    return 0


if __name__ == '__main__':
    sys.exit(main())
