"""Scripts in processes of their own that need not import torch anew: each is forked from one that has."""
import contextlib
import multiprocessing
import os
import runpy
import sys
import warnings
from pathlib import Path


def start(folder: Path, script: Path, *arguments, **env: str) -> tuple[int, str]:
    """Exit code and output of ``python script arguments`` in a folder; that process has imported mmengine and neither host."""
    context = multiprocessing.get_context('forkserver')
    context.set_forkserver_preload(['torch', 'torchvision', 'mmengine.runner', 'mmcv', 'matplotlib'])
    log = folder / 'output.log'
    process = context.Process(target=run_script, args=(log, script, [str(argument) for argument in arguments], env))
    process.start()
    process.join(300)
    if process.is_alive():
        process.kill()
        process.join()
    return process.exitcode, log.read_text()


def run(folder: Path, script: Path, *arguments, **env: str) -> str:
    """Output of a script, which must succeed."""
    code, printed = start(folder, script, *arguments, **env)
    assert code == 0, printed[-3000:]
    return printed


def run_script(log: Path, script: Path, arguments: list[str], env: dict[str, str]) -> None:
    """Run a script in this process, in the folder of the log."""
    os.chdir(log.parent)
    os.environ.update(env, MPLBACKEND='Agg')
    sys.argv = [str(script), *arguments]
    warnings.simplefilter('ignore')
    with log.open('w') as file, contextlib.redirect_stdout(file), contextlib.redirect_stderr(file):
        for stream in (1, 2):
            os.dup2(file.fileno(), stream)
        sys.modules['torch'].set_num_threads(1)
        runpy.run_path(str(script), run_name='__main__')
