"""tools/setup_venv.sh ends in one clear line where it cannot go on."""
import os
import subprocess

import pytest

from tiny import ROOT


def setup_venv(tmp_path, *pins, **programs):
    """Run the script with fake programs, given as shell text, before the real ones."""
    for name, text in programs.items():
        (tmp_path / name).write_text(f'#!/bin/sh\n{text}\n')
        (tmp_path / name).chmod(0o755)
    env = {**os.environ, 'PATH': f'{tmp_path}:{os.environ["PATH"]}', 'PYTHON': 'fakepython'}
    command = ['bash', ROOT / 'tools/setup_venv.sh', tmp_path / 'venv', *pins]
    return subprocess.run(command, env=env, capture_output=True, text=True)


# Answers the script's two questions: is the version right, is there a venv module?
GOOD = 'exit 0'
NO_VENV = 'case "$2" in *ensurepip*) exit 1;; esac'
OLD = 'case "$2" in *version_info*) exit 1;; esac'


@pytest.mark.parametrize('programs, message', [
    (dict(), "| PYTHON='fakepython' | install one or name it"),
    (dict(fakepython=OLD), "| PYTHON='fakepython' | install one or name it"),
    (dict(fakepython=NO_VENV), 'no venv module | fakepython | install it'),
    (dict(fakepython=GOOD, df='echo h; echo /dev/x 9 8 2097152 1% /'), '2 GB free, 7 GB needed for '),
    (dict(fakepython='case "$1" in -m) exit 1;; esac'), 'no virtual environment can be made | '),
])
def test_one_line(tmp_path, programs, message):
    result = setup_venv(tmp_path, **programs)
    assert result.returncode == 1
    assert result.stderr.startswith('nepa_mm: error: ') and message in result.stderr
    assert len(result.stderr.splitlines()) == 1 and result.stderr.count(' | ') == 2


def test_other_pins_are_refused(tmp_path):
    result = setup_venv(tmp_path, 'requirements.txt')
    assert result.returncode == 1 and not (tmp_path / 'venv').exists()
    assert result.stderr == ("nepa_mm: error: no file of pins | 'requirements.txt' | "
                             'choose constraints.txt, constraints-torch-2.12.txt or constraints-openmmlab.txt\n')


def test_older_pytorch_takes_the_place_of_the_newest(tmp_path):
    """What pip is given as constraints, by a Python that prints them."""
    python = 'while [ $# -gt 1 ]; do if [ "$1" = -c ]; then cat "$2"; fi; shift; done'
    (tmp_path / 'venv/bin').mkdir(parents=True)
    for name in ('pip', 'python'):
        (tmp_path / 'venv/bin' / name).write_text(f'#!/bin/sh\n{python}\n')
        (tmp_path / 'venv/bin' / name).chmod(0o755)
    result = setup_venv(tmp_path, 'constraints-torch-2.12.txt', fakepython=GOOD, df='echo h; echo /dev/x 9 8 99999999 1% /')
    assert result.returncode == 0, result.stderr
    pins = [line for line in result.stdout.splitlines() if '==' in line]
    everything = (ROOT / 'constraints.txt').read_text().splitlines()
    others = [line for line in everything if '==' in line and not line.startswith(('torch==', 'torchvision=='))]
    assert pins == [*others, 'torch==2.12.1', 'torchvision==0.27.1']
