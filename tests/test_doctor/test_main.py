"""The real command, in installations that are whole and broken."""
import json
import os
import re
import subprocess
import sys

import pytest

from nepa_mm.doctor.tries import TRIES
from terminal import Terminal
from tiny import ROOT

TORCHES = dict(
    raises="raise OSError('libcudart.so.13: cannot open shared object file')",
    crashes='import ctypes; ctypes.string_at(0)',
    exits='raise SystemExit(0)')


def doctor(*arguments, path=(), **env):
    env = {**os.environ, 'OMP_NUM_THREADS': '1', **env, 'PYTHONPATH': os.pathsep.join(map(str, (*path, ROOT)))}
    return subprocess.run([sys.executable, '-m', 'nepa_mm.doctor', *arguments], cwd='/', env=env, text=True, capture_output=True)


def package(folder, name, text):
    (folder / name).mkdir(parents=True)
    (folder / name / '__init__.py').write_text(text + '\n')
    return folder


def metadata(folder, name, version, *requires):
    path = folder / f'{name.replace("-", "_")}-{version}.dist-info'
    path.mkdir(parents=True)
    lines = ['Metadata-Version: 2.1', f'Name: {name}', f'Version: {version}', *(f'Requires-Dist: {each}' for each in requires)]
    (path / 'METADATA').write_text('\n'.join(lines) + '\n')


@pytest.mark.slow
def test_all_is_well_here_without_a_compiler():
    """Which is optional, and compiling takes half a minute."""
    done = doctor('--json', PATH='', CXX='')
    report = json.loads(done.stdout)
    found = {each['name']: each for each in report['findings']}
    assert (done.returncode, report['ok']) == (0, True), [each for each in report['findings'] if each['status'] == 'problem']
    assert set(TRIES) < set(found) and not done.stderr
    import torch
    import torchvision
    assert found['torch']['found'] == torch.__version__ and torch.__version__ in found['torchvision for torch']['found']
    assert torchvision.__version__ in found['torchvision']['found']
    for name in ('nepa_mm', 'mmseg', 'torch and NumPy', 'loader workers', 'datasets', 'flash attention', 'JPEG by torchvision'):
        assert found[name]['status'] == 'ok', found[name]
    assert found['torch.compile']['status'] == 'absent' and found['torch.compile']['fix'].startswith('apt install g++')


@pytest.mark.parametrize('torch, message', [
    ('raises', 'does not import: OSError: libcudart.so.13: cannot open shared object file; fix: pip install --force-reinstall'),
    ('crashes', 'does not import: the process ends by SIGSEGV; fix: pip install --force-reinstall'),
    ('exits', 'does not import: SystemExit: 0; fix: '),
])
def test_a_broken_torch_is_the_one_problem(torch, message, tmp_path):
    done = doctor(path=[package(tmp_path, 'torch', TORCHES[torch])])
    problems = [line for line in done.stdout.splitlines() if line.startswith('problem')]
    assert done.returncode == 1 and not done.stderr
    assert len(problems) == 1 and problems[0].startswith('problem  torch: ') and message in problems[0], done.stdout
    untried, = (line for line in done.stdout.splitlines() if line.startswith('untried'))
    assert 'nepa_mm' in untried and 'loader workers' in untried and untried.endswith(': not tried because torch fails')
    assert 'ok       numpy: ' in done.stdout and done.stdout.endswith('\n1 problem\n')


def test_versions_that_do_not_fit_show_even_where_nothing_imports(tmp_path):
    for name in ('numpy', 'torch', 'rich'):
        package(tmp_path, name, 'raise ImportError("numpy.core.multiarray failed to import")')
    metadata(tmp_path, 'torch', '2.2.1+cu121')
    metadata(tmp_path, 'torchvision', '0.19.1', 'torch (==2.4.1)')
    metadata(tmp_path, 'numpy', '2.0.0')
    for name in ('mmcv', 'onedl-mmcv'):
        metadata(tmp_path, name, '1.7.2')
    done = doctor('--json', path=[tmp_path])
    fixes = {each['name']: each['fix'] for each in json.loads(done.stdout)['findings'] if each['status'] == 'problem'}
    assert done.returncode == 1
    assert fixes['torchvision for torch'] == ("pip install --force-reinstall --no-deps 'torchvision==0.17.*' "
                                              '--index-url https://download.pytorch.org/whl/cu121')
    assert fixes['torch for nepa_mm'] == "pip install 'torch>=2.4'"
    assert fixes['numpy'] == "pip install 'numpy<2'"
    assert fixes['one mmcv'] == 'pip uninstall -y onedl-mmcv mmcv && pip install onedl-mmcv'
    assert fixes['mmcv for mmpretrain'].startswith("pip install 'onedl-mmcv>=2.0.0,<")
    assert 'rich' in fixes and 'torch' in fixes


def test_a_terminal_gets_a_table_and_the_fixes_in_one_piece(tmp_path):
    path = package(tmp_path, 'torch', TORCHES['raises'])
    terminal = Terminal(sys.executable, '-m', 'nepa_mm.doctor', columns=70, lines=60, PYTHONPATH=f'{path}:{ROOT}')
    terminal.run()
    assert terminal.code == 1 and '\x1b[1;31mproblem' in terminal.text and 'To do' in terminal.text
    assert '  torch: pip install --force-reinstall --no-deps torch==' in terminal.text
    assert 'tried: ' in terminal.text  # while it works
    package(tmp_path, 'rich', '1 / 0')
    terminal = Terminal(sys.executable, '-m', 'nepa_mm.doctor', PYTHONPATH=f'{path}:{ROOT}')
    terminal.run()
    assert terminal.code == 1 and 'problem  rich: rich ' in terminal.text and 'ZeroDivisionError' in terminal.text


def test_one_try_here_shows_all_of_its_error(tmp_path):
    path = package(tmp_path, 'torch', TORCHES['raises'])
    done = doctor('--try', 'torch', path=[path])
    assert done.returncode == 1 and 'Traceback' in done.stderr and f'File "{path}/torch/__init__.py", line 1' in done.stderr
    done = doctor('--try', 'numpy', path=[path])
    assert done.returncode == 0 and re.fullmatch(r'\d+\.\d+\.\d+\n', done.stdout)
    assert 'invalid choice' in doctor('--try', 'nothing').stderr


def test_few_open_files_are_a_warning(tmp_path):
    path = package(tmp_path, 'torch', TORCHES['raises'])
    done = subprocess.run(['bash', '-c', f'ulimit -n 512; {sys.executable} -m nepa_mm.doctor'], text=True, capture_output=True,
                          env={**os.environ, 'PYTHONPATH': f'{path}:{ROOT}'})
    assert 'warning  open files: 512 at once, below 1024; loaders with workers need many; fix: ulimit -n 65536' in done.stdout
