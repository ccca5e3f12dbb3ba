"""A training in two processes without torchrun, so that each has its own end."""
import socket
import subprocess
import sys
from pathlib import Path

import runs
from tiny import ROOT


def start_two(config: Path, folder: Path, *arguments, **options) -> list[subprocess.Popen]:
    """``tools/train.py`` twice; ``options`` are settings, a dot in their keys written as __."""
    with socket.socket() as server:
        server.bind(('127.0.0.1', 0))
        port = server.getsockname()[1]
    settings = [f'{key.replace("__", ".")}={value}' for key, value in options.items()]
    command = [sys.executable, '-W', 'ignore', ROOT / 'tools/train.py', config, '--launcher', 'pytorch', '--work-dir', folder]
    command += arguments
    command += ['--cfg-options', *settings] if settings else []
    env = {**runs.ENV, 'WORLD_SIZE': '2', 'MASTER_ADDR': '127.0.0.1', 'MASTER_PORT': str(port)}
    return [subprocess.Popen(
        [str(part) for part in command], cwd=folder.parent, env={**env, 'RANK': str(rank), 'LOCAL_RANK': str(rank)}, text=True,
        start_new_session=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE) for rank in range(2)]


def train_two(config: Path, folder: Path, *arguments, code: int = 0, **options) -> list[str]:
    """What both wrote to standard error, once they have ended with the exit code."""
    processes = start_two(config, folder, *arguments, **options)
    return [runs.finish(process, code) for process in processes]
