"""Run the tries beside each other, and put what came of them into findings."""
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path

from .finding import ABSENT, OK, PROBLEM, UNTRIED, WARNING, Finding
from .installed import distributions, install_command
from .tries import INSTALLED, TRIES, Try

AT_ONCE = 4  # processes; each may hold half a GiB
LONGEST = 200  # characters of an error; some are pages
# What errors mean: a pattern, and the fix
HINTS = [
    (r'libGL\.so|libgthread|libglib',
     'apt install libgl1 libglib2.0-0; or pip uninstall -y opencv-python && pip install opencv-python-headless'),
    (r'torchvision::nms|torchvision/_C|_C\.so: undefined symbol',
     'install the torchvision that is built for this torch, see "torchvision for torch"'),
    (r'compiled using NumPy 1|numpy\.core\.multiarray failed|Numpy is not available', "pip install 'numpy<2'"),
    (r'is used but incompatible', 'install a version in the range that it asserts, see "fits"'),
    (r"No module named 'pkg_resources'", "pip install 'setuptools<81'"),
    (r'Python\.h: No such file', 'apt install python3-dev'),
    (r'Too many open files|received 0 items of ancdata', 'ulimit -n 65536'),
]
MISSING = re.compile(r"ModuleNotFoundError: No module named '(\w+)")


def run_tries(said: Callable[[str, int], None]) -> tuple[list[Finding], dict[str, str]]:
    """Run all tries.

    Args:
        said: Called with the name of a try and the number of those that are done, as each ends.

    Returns:
        The findings, and the versions of the modules that could be imported, as they say themselves.
    """
    futures: dict[str, Future] = {}
    running: set[subprocess.Popen] = set()

    def after_others(each: Try) -> dict:
        others = [(name, futures[name].result()) for name in each.needs]
        name, other = next(((name, other) for name, other in others if other['kind'] != 'Works'), (None, None))
        if other is None:
            result = run_try(each, running)
        else:
            root = other['found'] if other['kind'] == 'Untried' else f'not tried because {name} fails'
            result = dict(kind='Untried', found=root)
        said(each.name, sum(future.done() for future in futures.values()) + 1)
        return result

    with ThreadPoolExecutor(min(AT_ONCE, os.cpu_count() or 1)) as pool:
        for name, each in TRIES.items():  # whatever another waits for comes before it, so all come to an end
            futures[name] = pool.submit(after_others, each)
        try:
            results = {name: future.result() for name, future in futures.items()}
        except KeyboardInterrupt:
            pool.shutdown(wait=False, cancel_futures=True)
            for process in tuple(running):
                kill(process)
            raise
    versions = {name: result['version'] for name, result in results.items() if result.get('version')}
    return [finding(TRIES[name], result) for name, result in results.items()], versions


def run_try(each: Try, running: set[subprocess.Popen]) -> dict:
    """Run a try in a process of its own, which is in ``running`` meanwhile; what it wrote, or how it ended."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, 'result.json')
        command = [sys.executable, '-W', 'ignore', '-m', 'nepa_mm.doctor.tries', each.name, str(path)]
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                                   errors='replace', start_new_session=True)
        running.add(process)
        try:
            output, _ = process.communicate(timeout=each.timeout)
        except subprocess.TimeoutExpired:
            kill(process)
            output, _ = process.communicate()
            return dict(kind='Error', found=f'no end within {each.timeout} seconds', fix=hint(output))
        finally:
            running.discard(process)
        if path.is_file():
            return json.loads(path.read_text())
    last = (output.strip().splitlines() or [''])[-1]
    end = signal.Signals(-process.returncode).name if process.returncode < 0 else f'exit code {process.returncode}'
    return dict(kind='Error', found=f'the process ends by {end}' + f': {last}' * bool(last), fix=hint(output))


def kill(process: subprocess.Popen) -> None:
    """End a process with the compilers and workers that it started."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:  # it has ended by itself
        pass


def finding(each: Try, result: dict) -> Finding:
    """What came of a try, with the fix for what is known."""
    kind, found, fix = result['kind'], result.get('found', ''), result.get('fix', '')
    known = dict(Works=WARNING if fix else OK, Absent=ABSENT, Untried=UNTRIED)
    status = known.get(kind, PROBLEM if each.is_needed else WARNING)
    if kind == 'Error' and each.group == INSTALLED:
        by_pip = ', '.join(f'{name} {version}' for name, version in distributions(each.name).items())
        found = f'{by_pip or "a copy without metadata"} does not import: {found}'
    if kind == 'Error':
        fix = fix or hint(found) or again(each)
        found = found[:LONGEST] + ' ...' * (len(found) > LONGEST)
    return Finding(each.group, each.name, status, found, fix)


def hint(error: str) -> str:
    for pattern, fix in HINTS:
        if re.search(pattern, error):
            return fix
    missing = MISSING.search(error)
    if not missing:
        return ''
    return install_command(missing[1]) if find_spec(missing[1]) is None else reinstall_command(missing[1])


def again(each: Try) -> str:
    """What helps against damage of unknown kind."""
    if each.group == INSTALLED and each.name != 'nepa_mm':
        return reinstall_command(each.name)
    return f'see the whole error: python -m nepa_mm.doctor --try {each.name!r}'


def reinstall_command(module: str) -> str:
    names = ' '.join(f'{name}=={has}' for name, has in distributions(module).items())
    return f'pip install --force-reinstall --no-deps {names}' if names else install_command(module)
