"""Trainings that ``tools/dist_train.sh --max-restarts`` starts again after a process has died, and others that it does not."""
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from test_data_faults import ALLOWED, with_signal, with_trouble, write_bad_data
from test_divergence import with_fault

from runs import ENV, assert_same_end, finish, last_line, loss_of_steps, train, write_config
from tiny import ROOT
from two import SHARDED, WRAPPERS, shared_out, train_two

pytestmark = pytest.mark.slow
TWO = dict(auto_scale_lr__base_batch_size=8, **ALLOWED)


def launch(config: Path, folder: Path, *arguments, code: int = 0, processes: int = 2, restarts: int = 3, **options) -> str:
    """``tools/dist_train.sh CONFIG PROCESSES --max-restarts RESTARTS``; what it wrote to standard error."""
    settings = [f'{key.replace("__", ".")}={value}' for key, value in options.items()]
    command = ['bash', ROOT / 'tools/dist_train.sh', config, processes, '--max-restarts', restarts, '--work-dir', folder,
               *arguments, '--cfg-options', *settings]
    process = subprocess.Popen(list(map(str, command)), env={**ENV, 'PYTHON': sys.executable}, text=True, start_new_session=True,
                               cwd=folder.parent, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    return finish(process, code)


def restarts_in(said: str) -> list[str]:
    """The lines that tell of a restart."""
    return [line for line in said.splitlines() if line.startswith('nepa_mm: restart ')]


@pytest.fixture(scope='module', params=WRAPPERS)
def whole(request, tmp_path_factory):
    """A training in two processes that nothing disturbs: its folder and config."""
    folder = tmp_path_factory.mktemp('whole')
    config = shared_out(write_bad_data(folder), request.param)
    train_two(config, folder / 'whole', **TWO)
    return folder, config


WHOLE_MODELS = pytest.mark.parametrize('whole', [False], ids=['DDP'], indirect=True)


def test_a_process_that_is_killed_is_started_again_to_the_same_end(whole, tmp_path):
    folder, config = whole
    config, run = with_signal(tmp_path, config, number=int(signal.SIGKILL), step=4, rank=1), tmp_path / 'run'
    line, = restarts_in(launch(config, run, **TWO))
    found = re.fullmatch(
        rf'nepa_mm: restart 1 of 3: a process of the training died \(SIGKILL\) \| from {run}/(epoch_1|iter_3).pth', line)
    assert found, line
    assert loss_of_steps(run) == loss_of_steps(folder / 'whole')
    assert_same_end(run / 'epoch_3.pth', folder / 'whole/epoch_3.pth')


def test_before_anything_is_saved_it_begins_anew_as_it_began(whole, tmp_path):
    """From other weights by ``load_from``, in a work dir that a first start has written to; process 0 dies, and saves nothing."""
    folder, config = whole
    weights = f'{folder}/whole/epoch_1.pth'
    train_two(config, tmp_path / 'whole', load_from=weights, **TWO)
    config, run = with_signal(tmp_path, config, number=int(signal.SIGKILL), step=2, rank=0), tmp_path / 'run'
    line, = restarts_in(launch(config, run, '--overwrite', load_from=weights, **TWO))
    assert line == ('nepa_mm: restart 1 of 3: a process of the training died (SIGKILL) | anew, for nothing was saved yet')
    assert loss_of_steps(run) == loss_of_steps(tmp_path / 'whole')
    assert_same_end(run / 'epoch_3.pth', tmp_path / 'whole/epoch_3.pth')


def test_a_loader_worker_that_dies_is_followed_by_a_restart(whole, tmp_path):
    folder, config = whole
    config, run = with_trouble(tmp_path, config, 'kill'), tmp_path / 'run'
    line, = restarts_in(launch(config, run, **TWO))
    begins = rf'from {run}/\S+.pth'
    if SHARDED in config.read_text():  # the step is not saved
        begins = f'({begins}|anew, for nothing was saved yet)'
    assert re.fullmatch(r'nepa_mm: restart 1 of 3: loader worker \d+ \(SIGKILL\) died at \S+/1/7.png \(index \d+, pid \d+\) \| '
                        + begins, line), line
    assert loss_of_steps(run) == loss_of_steps(folder / 'whole')
    assert_same_end(run / 'epoch_3.pth', folder / 'whole/epoch_3.pth')


def test_after_going_back_to_an_older_checkpoint_what_was_saved_since_is_taken(tmp_path):
    """Not the newer ones of the run before, which the training goes back behind; first that older one again."""
    config, run = write_config(tmp_path, 'iter'), tmp_path / 'run'
    config.write_text(config.read_text() + 'custom_imports = dict(imports="faults")\n')
    train(config, run)
    killed = config.with_name('killed.py')
    signals = [dict(type='Signal', number=int(signal.SIGKILL), step=step, rank=0, marker=f'at{step}') for step in (10, 14)]
    killed.write_text(config.read_text() + f'custom_hooks += {signals}\n')
    lines = restarts_in(launch(killed, run, '--resume', run / 'iter_8.pth', processes=1, train_cfg__max_iters=15))
    died = 'a process of the training died (SIGKILL)'
    assert lines == [f'nepa_mm: restart 1 of 3: {died} | from {run}/iter_8.pth',
                     f'nepa_mm: restart 2 of 3: {died} | from {run}/iter_12.pth']


@WHOLE_MODELS
def test_what_a_restart_cannot_mend_ends_at_once(whole, tmp_path):
    _, config = whole
    said = launch(config, tmp_path / 'setting', code=2, optim_wrapper__optimizer__lr=-1)
    assert not restarts_in(said) and '-1 is no number of 0 or more | optim_wrapper.optimizer.lr' in last_line(said)
    (tmp_path / 'diverges').mkdir()
    diverges = with_fault(write_config(tmp_path / 'diverges'), kind='loss nan', step=3, rank=1)
    said = launch(diverges, tmp_path / 'loss', code=5, auto_scale_lr__base_batch_size=8)
    assert not restarts_in(said) and 'step 3 was not taken' in last_line(said)


@WHOLE_MODELS
def test_after_the_last_restart_it_ends_as_the_process_that_died(whole, tmp_path):
    _, config = whole
    made = tmp_path / 'always.py'
    signals = [dict(type='Signal', number=int(signal.SIGKILL), step=2, rank=1, marker=f'time{i}') for i in range(2)]
    made.write_text(config.read_text() + f'custom_hooks += {signals}\n')
    said = launch(made, tmp_path / 'run', code=7, restarts=1, **TWO)
    assert len(restarts_in(said)) == 1
    assert re.fullmatch(r'nepa_mm: error: a process of the training died \(SIGKILL\) \| process 1, pid \d+ \| '
                        'go on with --resume', last_line(said))
