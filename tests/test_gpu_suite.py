"""tools/analysis_tools/gpu_suite.sh, shrunk: one step after another, whatever becomes of each."""
import json
import os
import subprocess
import sys

from tiny import ROOT


def suite(*arguments, **env) -> subprocess.CompletedProcess:
    env = {**os.environ, 'PYTHON': sys.executable, 'OMP_NUM_THREADS': '1', 'SUITE_TINY': '1', **env}
    command = ['bash', ROOT / 'tools/analysis_tools/gpu_suite.sh', *arguments]
    return subprocess.run([str(part) for part in command], env=env, text=True, capture_output=True, timeout=900)


def test_a_failure_stops_no_other_step(tmp_path):
    done = suite('--only', 'jpeg,peer,segmentation', '--data', tmp_path / 'no', '--out', tmp_path / 'out')
    assert done.returncode == 1, done.stdout + done.stderr
    assert "nepa_mm: error: --data" in done.stderr
    assert [line.split()[0] for line in done.stdout.splitlines()[-3:]] == ['jpeg', 'peer', 'segmentation']
    assert 'failed with code 2' in done.stdout and 'left out: no --peer-path' in done.stdout
    figures = json.loads((tmp_path / 'out/segmentation.json').read_text())
    assert {row['with_cp'] for row in figures['rows']} == {True, False} and figures['device'] and figures['torch']


def test_without_time_nothing_is_begun(tmp_path):
    done = suite('--only', 'base,large', '--out', tmp_path, SUITE_SECONDS='0')
    assert done.returncode == 2 and done.stdout.count('no time left') == 2 and not list(tmp_path.iterdir())
    assert suite('--wrong', 'x').stderr.startswith("gpu_suite.sh: error: unknown option '--wrong'")


def test_its_tests_are_those_that_need_a_gpu_and_not_its_own(tmp_path):
    done = suite('--only', 'tests', '--out', tmp_path, PYTEST_ADDOPTS='--collect-only -qq')
    assert done.returncode == 0, done.stdout + done.stderr
    assert 'tests/test_engine/test_log_later.py: 1\n' in done.stdout and 'test_gpu_suite.py: ' not in done.stdout
