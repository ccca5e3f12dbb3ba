"""Signals as schedulers send them, to a process or its whole group, in steps, in saves and in validations."""
import os
import signal
import time
from pathlib import Path

import pytest

from nepa_mm.checkpoints.storage.durable import check_whole
from nepa_mm.launch.training_process import logged
from runs import SLOWLY, VALIDATION, assert_resumes, at, finish, interrupting, kill_at, losses, only_step, start, write_config

STEP = 'mmengine.optim:OptimWrapper.step'


def children(pid: int) -> list[int]:
    """Its living child processes."""
    return [int(child) for child in Path(f'/proc/{pid}/task/{pid}/children').read_text().split()]


def assert_gone(pids: list[int], seconds: float = 2.) -> None:
    end = time.monotonic() + seconds
    while alive := [pid for pid in pids if is_alive(pid)]:
        assert time.monotonic() < end, f'{alive} still run'
        time.sleep(0.02)


def is_alive(pid: int) -> bool:
    try:
        return Path(f'/proc/{pid}/stat').read_text().rpartition(')')[2].split()[0] not in 'ZX'
    except FileNotFoundError:
        return False


@pytest.mark.parametrize('number, group', [
    (signal.SIGTERM, False), (signal.SIGTERM, True), (signal.SIGUSR1, False), (signal.SIGINT, True)])
def test_a_signal_ends_a_training_after_its_step(number, group, whole, tmp_path):
    config, expected = whole('epoch')
    run = tmp_path / 'run'
    training = start(config, run, before=SLOWLY)
    kill_at(training, run, 2, 0)
    workers = children(training.pid)
    assert len(workers) == 2
    (os.killpg if group else os.kill)(training.pid, number)
    began = time.monotonic()
    message = finish(training, 128 + number)
    assert time.monotonic() - began < 30
    assert_gone(workers)
    step = only_step(run)
    assert 2 <= step < 5 and len(losses(run)) == step
    assert message.splitlines()[-1] == (f'nepa_mm: {number.name}: stopped after step {step}, which is saved as '
                                        f'{run}/iter_{step}.pth; go on with --resume')
    log, = run.glob('*/*.log')
    assert f'INFO - {number.name}: stopped after step {step}, ' in log.read_text()
    assert_resumes(config, run, expected)
    assert not (run / f'iter_{step}.pth').exists()  # once there is a regular one


def test_workers_outlive_the_signals_alone(whole, tmp_path):
    # The training process is not signalled: it goes on with the same workers.
    config, expected = whole('epoch')
    run = tmp_path / 'run'
    training = start(config, run, before=SLOWLY)
    kill_at(training, run, 2, 0)
    workers = children(training.pid)
    for worker in workers:
        os.kill(worker, signal.SIGTERM)
        os.kill(worker, signal.SIGUSR1)
    kill_at(training, run, 12, 0)
    assert children(training.pid) == workers
    finish(training)
    assert_gone(workers)


def test_workers_end_with_a_training_process_that_is_killed(whole, tmp_path):
    run = tmp_path / 'run'
    training = start(whole('epoch')[0], run, before=SLOWLY)
    kill_at(training, run, 2, 0)
    workers = children(training.pid)
    os.kill(training.pid, signal.SIGKILL)
    finish(training, -9)
    assert_gone(workers)


def test_more_signals_during_the_save_do_no_harm(whole, tmp_path):
    config, expected = whole('iter')
    run = tmp_path / 'run'
    first = at(STEP, 3, signal.SIGTERM)
    more = at('nepa_mm.checkpoints.storage.durable:check_whole', 1, signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, save=1)
    assert 'SIGTERM: stopped after step 3' in finish(start(config, run, before=first + more), 143)
    assert only_step(run) == 3
    assert_resumes(config, run, expected)


def test_a_second_interrupt_ends_a_training_at_once_also_in_the_save(whole, tmp_path):
    run = tmp_path / 'run'
    both = at(STEP, 3, signal.SIGINT) + at('nepa_mm.checkpoints.storage.durable:check_whole', 1, signal.SIGINT, save=1)
    message = finish(start(whole('iter')[0], run, before=both), 130)
    assert message.splitlines()[-1] == (
        'nepa_mm: SIGINT: ended at once, at the second one; checkpoints that were saved are whole')
    assert not list(run.glob('*.pth'))  # the save was not done, and a file has its name once it is


def test_a_second_interrupt_ends_a_training_that_waits_for_a_save(whole, tmp_path):
    run = tmp_path / 'run'
    both = at(STEP, 5, signal.SIGINT) + interrupting('hang', 'nepa_mm.checkpoints.storage.durable:check_whole', 1, signal.SIGINT)
    message = finish(start(whole('iter')[0], run, before=both), 130)
    assert message.splitlines()[-1].startswith('nepa_mm: SIGINT: ended at once, at the second one')
    assert not list(run.glob('*.pth'))


def test_an_interrupt_before_there_is_a_step(whole, tmp_path):
    before = at('nepa_mm.launch.checks.data:check_folders', 1, signal.SIGINT)
    message = finish(start(whole('iter')[0], tmp_path / 'run', before=before), 130)
    assert message.splitlines() == ['nepa_mm: SIGINT: ended at once; there was nothing to save']


@pytest.mark.parametrize('background', [True, False])
def test_a_signal_in_a_regular_save_ends_the_step_after(background, whole, tmp_path):
    config, expected = whole('epoch')
    run = tmp_path / 'run'
    finish(start(config, run, before=at('torch._C:PyTorchFileWriter.write_record', 20, signal.SIGUSR1, save=1),
                 default_hooks__checkpoint__background=background), 138)
    assert 6 <= only_step(run) <= (15 if background else 6)
    check_whole(run / 'epoch_1.pth')
    assert_resumes(config, run, expected)


def test_a_signal_in_the_last_step_of_an_epoch(whole, tmp_path):
    config, expected = whole('epoch')
    run = tmp_path / 'run'
    finish(start(config, run, before=at(STEP, 5, signal.SIGTERM)), 143)
    assert only_step(run) == 5
    assert_resumes(config, run, expected)


@pytest.mark.parametrize('kind, step, best', [('epoch', 5, 'epoch_1'), ('iter', 4, 'iter_4')])
def test_a_signal_during_validation(kind, step, best, whole, tmp_path):
    # There the average stands where the weights are; a training without validation has the same end.
    config = write_config(tmp_path, kind)
    options = ['--cfg-options', 'default_hooks.checkpoint.save_best=accuracy/top1']
    options += ['train_cfg.val_interval=4'] if kind == 'iter' else []
    config.write_text(config.read_text() + VALIDATION)
    run = tmp_path / 'run'
    validating = at('mmpretrain.models:ImageClassifier.val_step', 2, signal.SIGTERM)  # of 5 for each validation
    message = finish(start(config, run, *options, before=validating), 143)
    assert f'stopped after step {step}, ' in message
    path = run / f'iter_{step}.pth'
    check_whole(path)
    assert_resumes(config, run, whole(kind)[1], '--resume', *options)
    assert not path.exists()
    assert sum('accuracy/top1' in record for record in logged(run)) == (3 if kind == 'epoch' else 4)  # none is missing
    assert [path.stem for path in run.glob('best_*.pth')] == [f'best_accuracy_top1_{best}']  # all are as good


@pytest.mark.parametrize('batch', [2, 7])
def test_a_signal_during_a_validation_of_average_and_raw_weights(batch, whole, tmp_path):
    # Five batches with the average, then five without, in mmpretrain's EMAHook: the weights are saved as they are, at once.
    config = write_config(tmp_path)
    config.write_text(config.read_text() + VALIDATION)
    options = ['--cfg-options', 'custom_hooks.0.evaluate_on_origin=True']
    run = tmp_path / 'run'
    validating = at('mmpretrain.models:ImageClassifier.val_step', batch, signal.SIGTERM)
    assert 'stopped after step 5, ' in finish(start(config, run, *options, before=validating), 143)
    assert_resumes(config, run, whole('epoch')[1], '--resume', *options)


def test_a_regular_checkpoint_stays_where_a_signal_ends_the_validation_that_follows_it(whole, tmp_path):
    config = write_config(tmp_path, 'iter')
    config.write_text(config.read_text() + VALIDATION)
    options = ['--cfg-options', 'default_hooks.checkpoint.max_keep_ckpts=-1', 'train_cfg.val_interval=4']
    run = tmp_path / 'run'
    validating = at('mmpretrain.models:ImageClassifier.val_step', 2, signal.SIGTERM)
    for resume in ((), ('--resume', )):  # which validates first
        assert 'stopped after step 4, ' in finish(start(config, run, *resume, *options, before=validating), 143)
    assert_resumes(config, run, whole('iter')[1], '--resume', *options)
    assert {path.name for path in run.glob('*.pth')} == {f'iter_{step}.pth' for step in (4, 8, 12, 15)}


def test_a_second_stop_takes_the_place_of_the_first(whole, tmp_path):
    config, expected = whole('epoch')
    run = tmp_path / 'run'
    for resume in ((), ('--resume', )):
        finish(start(config, run, *resume, before=at(STEP, 2, signal.SIGTERM)), 143)
    assert only_step(run) == 4
    assert_resumes(config, run, expected)
    assert not list(run.glob('iter_*.pth'))
