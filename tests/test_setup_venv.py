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
                             'choose constraints.txt or constraints-openmmlab.txt\n')
