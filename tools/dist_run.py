"""torch.distributed.run, which ends as the process that failed first did: with its exit code, and its line as the last.

With ``--max-restarts K`` among the arguments, wherever it stands, a training of which a process died or hangs is started again,
up to K times. torch's own option cannot do that: it starts again after any failure, also of a config, and its new processes meet
the old ones' addresses in the store (findings/torchrun_max_restarts.sh).
"""
import argparse
import os
import signal
import socket
import sys
import time
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


def told(failure: ProcessFailure) -> tuple[str, int]:
    """The line that says why a process failed, and its exit code."""
    code = exit_code(failure)
    where = f'process {failure.local_rank}, pid {failure.pid}'
    if 'exit_code' in failure.error_file_data:
        return failure.message, code
    if code < 0:
        return f'nepa_mm: error: a process of the training died ({failure.signal_name()}) | {where} | go on with --resume', DIED
    # in a usage of arguments, or before it could say more
    return f'nepa_mm: error: a process of the training failed with exit code {code} | {where} | see what it says above', code


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


def taken_out(arguments: list[str]) -> tuple[int, list[str]]:
    """How often to start again, and the other arguments."""
    parser = argparse.ArgumentParser(prog='dist_train.sh', usage='dist_train.sh CONFIG GPUS [--max-restarts K] [of train.py ...]',
                                     add_help=False, allow_abbrev=False)
    parser.add_argument('--max-restarts', type=int, default=0)
    own, others = parser.parse_known_args(arguments)
    if own.max_restarts < 0:
        parser.error(f'argument --max-restarts: {own.max_restarts} is no number of 0 or more')
    return own.max_restarts, others


def launch(args: argparse.Namespace) -> tuple[str, int]:
    """Run the processes to their end; the line and the exit code of the one that failed first."""
    try:
        run(args)
    except ChildFailedError as error:
        return told(first_of(list(error.failures.values())))
    except dist.DistNetworkError as error:
        if 'EADDRINUSE' not in str(error):
            raise
        return (f'nepa_mm: error: another program listens at port {args.master_port} | PORT | give another one; on one machine '
                'none is needed'), 2
    return '', 0


def main() -> int:
    api._terminate_process_handler = hand_on  # for the signals that it hands on itself
    for number in (signal.SIGUSR1, signal.SIGINT):
        signal.signal(number, hand_on)
    restarts, arguments = taken_out(sys.argv[1:])
    args = parse_args(arguments)
    if restarts and args.nnodes != '1':
        print(f'nepa_mm: error: {args.nnodes} machines do not start again by themselves | --max-restarts | leave it out, and let '
              'the scheduler start all of them again with --resume', file=sys.stderr)
        return 2
    args.master_port = args.master_port or free_port()
    os.environ['NEPA_LAUNCHED'] = str(time.time())
    try:
        line, code = launch(args)
        for number in range(1, restarts + 1):
            if code != DIED:
                break
            os.environ['NEPA_RESTART'] = f'{number} of {restarts}: {line.removeprefix("nepa_mm: error: ").split(" | ")[0]}'
            args.master_port = free_port()  # with a store that knows nothing of the last one's
            line, code = launch(args)
    except api.SignalException as error:  # the processes have said what they saved
        return 128 + error.sigval
    if line:
        print(line, file=sys.stderr)
    return code


if __name__ == '__main__':
    sys.exit(main())
