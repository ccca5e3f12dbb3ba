"""Commands of Python in processes that need not import torch and the hosts anew: each is forked from one that has.

The process is a command's own, with its arguments, folder, environment, streams, session, exit code and end by a signal; what it
imported is there before. So each kind of command has a test beside that starts it as a person does.
"""
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

from tiny import ROOT

TESTS = Path(__file__).parent
ENV = {**os.environ, 'OMP_NUM_THREADS': '1', 'MPLBACKEND': 'Agg', 'PYTHONPATH': f'{ROOT}:{TESTS}:{TESTS / "test_reliability"}'}


class Process:
    """A command that runs: what :class:`subprocess.Popen` offers of it.

    Args:
        argv: As after ``python``: a script, or -c or -m, and its arguments.
        folder: Where it runs.
        env: Further environment variables.
        before: Python code that its process runs first.
        only_parse: End it once it has read its arguments.
        fork_children: Let it fork the commands of Python that it starts in its turn.
        terminal: Path of a terminal for its streams; by default it reads nothing and writes to files, for :meth:`communicate`.
        imported: What is there: 'ours', all of ``nepa_mm`` and the hosts; 'mmdet', mmdet in their place; 'hosts', no more than
            mmengine.
    """
    servers, asking = {}, threading.Lock()

    def __init__(self, argv: list, folder: Path = ROOT, env: dict[str, str] = {}, before: str = '', only_parse: bool = False,
                 fork_children: bool = False, terminal: str | None = None, imported: str = 'ours') -> None:
        self.imported = imported
        self.args, self.returncode, self.files = [str(part) for part in argv], None, []
        if terminal is None:
            self.files = [Path(tempfile.mkstemp(prefix='forked_')[1]) for _ in range(2)]
        streams = [os.devnull, *map(str, self.files)] if terminal is None else [terminal] * 3
        self.pid = self.ask(argv=self.args, folder=str(folder), env=env, before=before, only_parse=only_parse,
                            fork_children=fork_children, streams=streams)

    def ask(self, **order):
        """The answer of the server; each process that runs tests has its own."""
        with self.asking:
            server = self.servers.get(self.imported)
            if server is None or server.poll() is not None:
                command = [sys.executable, '-W', 'ignore', Path(__file__).with_name('fork_server.py'), self.imported]
                server = self.servers[self.imported] = subprocess.Popen(
                    command, env=ENV, text=True, start_new_session=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                    stderr=subprocess.DEVNULL)
            print(json.dumps(order), file=server.stdin, flush=True)
            return json.loads(server.stdout.readline())

    def poll(self) -> int | None:
        """The exit code, minus the signal that killed it, or None as long as it runs."""
        if self.returncode is None:
            self.returncode = self.ask(poll=self.pid)
        return self.returncode

    def wait(self, timeout: float = 300.) -> int:
        """Its exit code, once it has ended; what takes longer is killed."""
        end = time.monotonic() + timeout
        while self.poll() is None:
            if time.monotonic() > end:
                os.killpg(self.pid, signal.SIGKILL)
                raise subprocess.TimeoutExpired(self.args, timeout)
            time.sleep(0.02)
        return self.returncode

    def communicate(self, timeout: float = 300.) -> tuple[str, str]:
        """Wait for its end, and give back what it wrote."""
        self.wait(timeout)
        written = tuple(path.read_text() for path in self.files)
        for path in self.files:
            path.unlink()
        self.files = []
        return written

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


def end_servers() -> None:
    """So that their time counts as that of the tests."""
    for server in Process.servers.values():
        server.communicate()
    Process.servers.clear()


def done(*argv, folder: Path = ROOT, timeout: float = 300., **options) -> subprocess.CompletedProcess:
    """A command that has ended, whatever its exit code."""
    process = Process([*argv], folder, **options)
    out, err = process.communicate(timeout)
    return subprocess.CompletedProcess(process.args, process.returncode, out, err)


def start(folder: Path, *argv, imported: str = 'ours', **env: str) -> tuple[int, str]:
    """Exit code and all that a command printed in a folder."""
    ended = done(*argv, folder=folder, env=env, imported=imported)
    return ended.returncode, ended.stdout + ended.stderr


def free_port() -> int:
    """A port that nobody listens at."""
    with socket.socket() as server:
        server.bind(('127.0.0.1', 0))
        return server.getsockname()[1]


def run_together(count: int, *argv, folder: Path = ROOT) -> None:
    """A command in so many processes, as torch.distributed.run starts them; each must succeed."""
    group = dict(WORLD_SIZE=str(count), LOCAL_WORLD_SIZE=str(count), MASTER_ADDR='127.0.0.1', MASTER_PORT=str(free_port()))
    processes = [Process([*argv], folder, env=dict(group, RANK=str(rank), LOCAL_RANK=str(rank))) for rank in range(count)]
    for process in processes:
        out, err = process.communicate()
        assert process.returncode == 0, out[-3000:] + err[-3000:]


def run(folder: Path, *argv, imported: str = 'ours', **env: str) -> str:
    """What a command printed, which must succeed."""
    code, printed = start(folder, *argv, imported=imported, **env)
    assert code == 0, printed[-3000:]
    return printed
