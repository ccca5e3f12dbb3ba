"""A training that was killed goes on with the bits of one that was not."""
import pytest
from mmengine.runner.loops import _InfiniteDataloaderIterator

from runs import LOOPS, assert_resumes, at, finish, kill_at, loss_of_steps, losses, start, start_cold, train


@pytest.mark.parametrize('kind', LOOPS)
def test_killed_within_a_step_it_resumes_to_the_same_bits(kind, whole, tmp_path):
    config, expected = whole(kind)
    assert 15 <= len(loss_of_steps(expected)) <= 20
    # One that is written while the training goes on may not be whole yet (test_killed_saves.py).
    finish(start(config, tmp_path / 'run', '--cfg-options', 'default_hooks.checkpoint.background=False',
                 before=at('mmengine.optim:OptimWrapper.step', 14)), -9)
    assert len(losses(tmp_path / 'run')) == 13
    log = assert_resumes(config, tmp_path / 'run', expected)
    saved = {'epoch': 'epoch_2', 'mmengine-epoch': 'epoch_1'}.get(kind, 'iter_12')
    assert f'Resuming from {tmp_path}/run/{saved}.pth, which is whole' in log


@pytest.mark.skipif(not hasattr(_InfiniteDataloaderIterator, 'skip_iter'), reason='an mmengine without the option')
def test_a_loop_told_to_pass_over_nothing_goes_on_with_the_next_image_too(copy, whole):
    config, expected = whole('iter')
    assert_resumes(config, copy, expected, '--resume', '--cfg-options', 'train_cfg.fast_forward_on_resume=True')


@pytest.mark.slow
def test_killed_from_outside_in_an_interpreter_of_its_own(whole, tmp_path):
    config, expected = whole('epoch')
    first = start_cold(config, tmp_path / 'run', default_hooks__checkpoint__background=False)
    kill_at(first, tmp_path / 'run', 6)
    finish(first, -9)
    finish(start_cold(config, tmp_path / 'run', '--resume'))
    assert loss_of_steps(tmp_path / 'run') == loss_of_steps(expected)


def test_another_seed_is_another_training(whole, tmp_path):
    # So that equal losses mean something.
    config, expected = whole('epoch')
    train(config, tmp_path / 'run', randomness__seed=5)
    assert not set(loss_of_steps(tmp_path / 'run').values()) & set(loss_of_steps(expected).values())


@pytest.mark.parametrize('workers', [0, 1, 4])
def test_the_number_of_workers_changes_no_bit(workers, whole, tmp_path):
    config, expected = whole('epoch')  # 2 workers
    train(config, tmp_path / 'run', train_dataloader__num_workers=workers)
    assert loss_of_steps(tmp_path / 'run') == loss_of_steps(expected)
