"""A training in two or more processes without torchrun, so that each has its own end."""
import socket
from pathlib import Path

import runs


def start_two(config: Path, folder: Path, *arguments, env: dict[str, str] = {}, befores: tuple[str, str] = ('', ''),
              **options) -> list[runs.Process]:
    """``tools/train.py`` once for each of ``befores``, with the arguments of :func:`runs.start`."""
    port, count = str(free_port()), len(befores)
    return [runs.start(config, folder, '--launcher', 'pytorch', *arguments, **{'before': befores[rank], **options}, env=dict(
        env, RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE=str(count), MASTER_ADDR='127.0.0.1', MASTER_PORT=port))
        for rank in range(count)]


def train_two(config: Path, folder: Path, *arguments, code: int = 0, **options) -> list[str]:
    """What all wrote to standard error, once they have ended with the exit code."""
    processes = start_two(config, folder, *arguments, **options)
    return [runs.finish(process, code) for process in processes]


def free_port() -> int:
    """A port that nobody listens at."""
    with socket.socket() as server:
        server.bind(('127.0.0.1', 0))
        return server.getsockname()[1]
