"""tools/analysis_tools/gpu_suite.sh, shrunk: one step after another, whatever becomes of each."""
import json
import os
import subprocess
import sys

import pytest
from PIL import Image

from tiny import ROOT, counts


def suite(*arguments, **env) -> subprocess.CompletedProcess:
    env = {**os.environ, 'PYTHON': sys.executable, 'OMP_NUM_THREADS': '1', 'SUITE_TINY': '1', **env}
    command = ['bash', ROOT / 'tools/analysis_tools/gpu_suite.sh', *arguments]
    return subprocess.run([str(part) for part in command], env=env, text=True, capture_output=True, timeout=900)


@pytest.mark.slow
@counts
def test_a_failure_stops_no_other_step(tmp_path):
    (tmp_path / 'images').mkdir()
    Image.new('RGB', (40, 40)).save(tmp_path / 'images/a.jpg')
    done = suite('--only', 'large,batch,segmentation', '--data', tmp_path / 'images', '--peer-path', tmp_path, '--out',
                 tmp_path / 'new/out')
    assert done.returncode == 1, done.stdout + done.stderr  # there is nothing of the authors' in that folder
    assert "nepa_mm: error: hf-reference stopped: cannot import the authors' code" in done.stderr
    assert [line.split()[0] for line in done.stdout.splitlines()[-3:]] == ['large', 'batch', 'segmentation']
    assert 'failed with code 2' in done.stdout
    figures = json.loads((tmp_path / 'new/out/segmentation.json').read_text())
    assert {row['with_cp'] for row in figures['rows']} == {True, False} and figures['device'] and figures['torch']
    assert [row['size'] for row in json.loads((tmp_path / 'new/out/batch.json').read_text())['rows']] == [1, 2]


def test_images_of_a_folder_go_through_the_loader(tmp_path):
    (tmp_path / 'images').mkdir()
    Image.new('RGB', (40, 40)).save(tmp_path / 'images/a.jpg')
    done = suite('--only', 'base', '--data', tmp_path / 'images', '--out', tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    figures = json.loads((tmp_path / 'base.json').read_text())
    assert figures['data'] == str(tmp_path / 'images') and figures['loader']['images_per_core_s'] > 0


def test_without_time_nothing_is_begun(tmp_path):
    done = suite('--only', 'base,large', '--out', tmp_path, SUITE_SECONDS='0')
    assert done.returncode == 2 and done.stdout.count('no time left') == 2 and not list(tmp_path.iterdir())
    assert suite('--wrong', 'x').stderr.startswith("gpu_suite.sh: error: unknown option '--wrong'")
    assert suite('--data').stderr == 'gpu_suite.sh: error: --data needs a value\n'


def test_its_tests_are_those_that_need_a_gpu_and_not_its_own(tmp_path):
    done = suite('--only', 'tests', '--out', tmp_path, PYTEST_ADDOPTS='--collect-only -qq')
    assert done.returncode == 0, done.stdout + done.stderr
    assert 'tests/test_engine/test_hooks/test_log_later.py: ' in done.stdout and 'test_gpu_suite.py: ' not in done.stdout
