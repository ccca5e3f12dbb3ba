"""One of two processes is signalled: both stop at the same step."""
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from runs import ENV, SLOWLY, VALIDATION, at, finish, losses, only_step, write_config
from tiny import ROOT
from two import IS_SHARDED, SHARDED, assert_both_resume, free_port, signalled_two, start_two, train_two

pytestmark = pytest.mark.slow


@pytest.fixture(scope='module')
def whole_two(tmp_path_factory):
    """Config and work dir of a training by two processes."""
    folder = tmp_path_factory.mktemp('two')
    config = write_config(folder, 'epoch')
    train_two(config, folder / 'whole')
    return config, folder / 'whole'


@pytest.mark.parametrize('signalled', [[0], [1], [0, 1]])
def test_both_stop_at_the_same_step(signalled, whole_two, tmp_path):
    config, whole = whole_two
    run = tmp_path / 'run'
    both = signalled_two(config, run, signalled)
    began = time.monotonic()
    messages = [finish(process, 143) for process in both]
    assert time.monotonic() - began < 8  # however many loader workers there are
    assert f'SIGTERM: stopped after step {only_step(run)}' in messages[0]
    assert_both_resume(config, run, whole)


def test_one_is_signalled_in_a_validation(tmp_path):
    config, run = write_config(tmp_path, 'epoch'), tmp_path / 'run'
    config.write_text(config.read_text() + VALIDATION)
    befores = SLOWLY, at('mmpretrain.models:ImageClassifier.val_step', 1, signal.SIGTERM)
    messages = [finish(process, 143) for process in start_two(config, run, befores=befores)]
    assert 'SIGTERM: stopped after step 5' in messages[0] and only_step(run) == 5


@pytest.mark.parametrize('is_sharded', [False, IS_SHARDED])
@pytest.mark.parametrize('signalled, number', [
    (1, signal.SIGTERM), ('launcher', signal.SIGUSR1), ('group', signal.SIGTERM), ('group', signal.SIGINT)])
def test_through_dist_train(signalled, number, is_sharded, whole_two, tmp_path):
    config, run = tmp_path / 'config.py', tmp_path / 'run'
    config.write_text(whole_two[0].read_text() + SHARDED * is_sharded)
    command = ['bash', ROOT / 'tools/dist_train.sh', config, '2', '--work-dir', run, '--cfg-options', 'train_cfg.max_epochs=400']
    launcher = subprocess.Popen(command, cwd=tmp_path, env={**ENV, 'PYTHON': sys.executable, 'PORT': str(free_port())}, text=True,
                                start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    while not (ranks := ranks_of(launcher.pid)) or not losses(run):
        assert launcher.poll() is None, launcher.communicate()
        time.sleep(0.05)
    if signalled == 'group':
        os.killpg(launcher.pid, number)
    else:
        os.kill(ranks.get(signalled, launcher.pid), number)
    _, err = launcher.communicate(timeout=60)
    assert launcher.returncode == 128 + number
    assert err.splitlines()[-1].startswith(f'nepa_mm: {number.name}: stopped after step {only_step(run)}, '), err[-3000:]


def ranks_of(launcher: int) -> dict[int, int]:
    """Pids of the processes that torchrun started, by rank."""
    pids = [int(pid) for pid in Path(f'/proc/{launcher}/task/{launcher}/children').read_text().split()]
    try:
        environments = {pid: Path(f'/proc/{pid}/environ').read_bytes().split(b'\0') for pid in pids}
    except (FileNotFoundError, ProcessLookupError):  # one that has ended meanwhile
        return {}
    return {int(value[5:]): pid for pid, values in environments.items() for value in values if value.startswith(b'RANK=')}
