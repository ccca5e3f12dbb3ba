"""The rooms of the package import only what lies below them: the contracts of setup.cfg, held by import-linter."""
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tiny import ROOT


def lint(folder: Path) -> subprocess.CompletedProcess:
    command = [sys.executable, '-c', 'from importlinter.cli import lint_imports_command as lint; lint()', '--no-cache']
    return subprocess.run(command, cwd=folder, env={'PYTHONPATH': str(folder)}, capture_output=True, text=True)


def test_the_contracts_are_kept():
    done = lint(ROOT)
    assert done.returncode == 0 and '0 broken' in done.stdout, done.stdout + done.stderr


def test_the_table_of_the_house_has_each_room_in_the_order_of_the_layers():
    layers = (ROOT / 'setup.cfg').read_text().split('exhaustive = true\nlayers =\n')[1].split('\n\n')[0]
    table = (ROOT / 'CONTRIBUTING.md').read_text().split('| room |')[1].split('\n\n')[0]
    rooms = [name for line in table.splitlines() for name in re.findall(r'`(\w+)/`', line.split(' | ')[0])]
    assert rooms == [name for name in re.findall(r'\w+', layers) if (ROOT / 'nepa_mm' / name).is_dir()]


@pytest.mark.parametrize('path, line, said', [
    ('models/rope2d.py', 'from nepa_mm.engine import ReliableRunner', 'nepa_mm.models is not allowed to import nepa_mm.engine'),
    ('datasets/seeded_dataset.py', 'def late():\n    import nepa_mm.models', 'nepa_mm.datasets is not allowed to import'),
    ('checkpoints/storage/files.py', 'from nepa_mm.checkpoints import addresses', 'nepa_mm.checkpoints.storage is not allowed'),
    ('engine/hooks/interruptions.py', 'import nepa_mm.engine.runner', 'nepa_mm.engine.hooks is not allowed to import'),
    ('launch/config_keys.py', 'from nepa_mm.launch import read_config', 'No circle between modules of a room BROKEN'),
    ('new_room.py', '', 'new_room')])
def test_an_upward_import_breaks_them(path, line, said, tmp_path):
    shutil.copytree(ROOT / 'nepa_mm', tmp_path / 'nepa_mm', ignore=shutil.ignore_patterns('.mim', '__pycache__'))
    shutil.copy(ROOT / 'setup.cfg', tmp_path)
    file = tmp_path / 'nepa_mm' / path
    file.write_text((file.read_text() if file.exists() else '') + f'\n{line}\n')
    done = lint(tmp_path)
    assert done.returncode == 1 and said in done.stdout, done.stdout + done.stderr
