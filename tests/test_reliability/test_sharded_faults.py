"""Faults of a training in two processes that each hold half of the model, and write one file."""
import shutil
import signal
from pathlib import Path

import pytest
import torch
from test_bad_checkpoints import REASONS, contents, cut, empty, flip
from test_killed_saves import DURABLE, POINTS

from nepa_mm.checkpoints.storage.durable import check_whole, newest_whole
from nepa_mm.checkpoints.storage.files import read_checkpoint
from runs import assert_same_end, at, finish, interrupting, last_line, loss_of_steps, only_step
from two import assert_both_resume, start_two, train_two

pytestmark = [pytest.mark.slow, pytest.mark.skipif(torch.__version__ < (2, 6), reason='FSDP2 needs torch 2.6')]
STEP = 'mmengine.optim:OptimWrapper.step'


@pytest.fixture
def copy(whole_in_halves, tmp_path):
    """A work dir, moved by then, with the checkpoints of two epochs; the pointer names a third."""
    return shutil.copytree(whole_in_halves[1], tmp_path / 'run', ignore=shutil.ignore_patterns('epoch_3.pth'))


@pytest.mark.parametrize('damage', [cut, flip])
def test_the_newest_is_damaged(damage, copy, whole_in_halves):
    damage(copy / 'epoch_2.pth')
    assert_both_resume(whole_in_halves[0], copy, whole_in_halves[1])
    warning, = (line for line in max(copy.glob('*/*.log')).read_text().splitlines() if 'WARNING' in line and '.pth' in line)
    assert 'epoch_2.pth: ' in warning and REASONS[damage] in warning
    assert warning.endswith('resuming from epoch_1.pth, the newest that is whole')


def refused(config: Path, folder: Path, *arguments, code: int, **options) -> str:
    """What the first process says for both, which end alike, and leave all as it was."""
    before = contents(folder) if folder.exists() else {}
    line = last_line(train_two(config, folder, *arguments, code=code, **options)[0])
    assert line.startswith('nepa_mm: error: ') and (contents(folder) if folder.exists() else {}) == before
    return line


def test_what_cannot_be_gone_on_with_is_refused_by_both(copy, whole_in_halves, tmp_path):
    config = whole_in_halves[0]
    assert 'no checkpoint to resume' in refused(config, tmp_path / 'none', '--resume', code=4)
    assert 'holds another run (epoch_2.pth)' in refused(config, copy, code=2)
    changed = dict(optim_wrapper__optimizer__lr=0.002, randomness__seed=5)
    assert 'randomness.seed: 1337 -> 5, optim_wrapper.optimizer.lr: 0.001 -> 0.002' in refused(
        config, copy, '--resume', code=2, **changed)
    weights = read_checkpoint(copy / 'epoch_1.pth')['state_dict']
    weights['backbone.layers.1.mlp.fc1.weight'] = torch.ones(3, 3)
    torch.save(dict(state_dict=weights), tmp_path / 'other.pth')
    said = refused(config, tmp_path / 'new', code=4, load_from=tmp_path / 'other.pth')
    assert 'layers.1.mlp.fc1.weight is [3, 3] there' in said
    flip(copy / 'epoch_2.pth')
    assert REASONS[flip] in refused(config, copy, '--resume', copy / 'epoch_2.pth', code=4)
    empty(copy / 'epoch_1.pth')
    said = refused(config, copy, '--resume', code=4)
    assert REASONS[flip] in said and REASONS[empty] in said


def test_with_other_settings_it_has_the_rates_of_a_run_that_had_them_from_the_beginning(copy, whole_in_halves):
    config, whole = whole_in_halves
    train_two(config, copy, '--resume', '--allow-resume-change', optim_wrapper__optimizer__lr=0.002)
    groups, before = (read_checkpoint(run / 'epoch_3.pth')['optimizer']['param_groups'] for run in (copy, whole))
    assert [group['lr'] for group in groups] == pytest.approx([2 * group['lr'] for group in before])


def test_a_full_disk_leaves_older_checkpoints_as_they_were(copy, whole_in_halves):
    config, whole = whole_in_halves
    before, limit = contents(copy), (copy / 'epoch_2.pth').stat().st_size // 2
    full = f'import resource; resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit}))\n'
    both = start_two(config, copy, '--resume', befores=(full, full))
    line = last_line(finish(both[0], 6))
    finish(both[1])  # which has nothing left to do
    assert line.startswith('nepa_mm: error: it cannot be written: it needs ') and f' | {copy}/epoch_3.pth | ' in line
    assert {name: content for name, content in contents(copy).items()} == before and not list(copy.glob('.*.tmp'))
    assert_both_resume(config, copy, whole)


@pytest.mark.parametrize('point', ['at its 60th part', 'before it has its name', 'after it has its name'])
def test_killed_in_a_save_with_one_checkpoint_kept(point, whole_in_halves, tmp_path):
    config, whole = whole_in_halves
    run, (target, call, after) = tmp_path / 'run', POINTS[point]
    options = dict(default_hooks__checkpoint__max_keep_ckpts=1)
    both = start_two(config, run, befores=(at(target, call, save=2, after=after), ''), **options)
    finish(both[0], -9)
    assert 'another process of the training died' in finish(both[1], 7)
    found = newest_whole([run], pytest.fail)  # without a warning
    assert found.name == ('epoch_2.pth' if 'after' in point else 'epoch_1.pth')
    train_two(config, run, '--resume', **options)
    assert loss_of_steps(run) == loss_of_steps(whole)
    assert_same_end(run / 'epoch_3.pth', whole / 'epoch_3.pth')
    assert [path.name for path in run.glob('*.pth')] == ['epoch_3.pth'] and not list(run.glob('.*.tmp'))


def test_more_signals_during_the_save_do_no_harm(whole_in_halves, tmp_path):
    config, whole = whole_in_halves
    run, first = tmp_path / 'run', at(STEP, 3, signal.SIGTERM)
    more = at(f'{DURABLE}:check_whole', 1, signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, save=1)
    messages = [finish(process, 143) for process in start_two(config, run, befores=(first + more, ''))]
    assert f'SIGTERM: stopped after step {only_step(run)}' in messages[0]
    assert_both_resume(config, run, whole)


def test_a_second_interrupt_ends_it_at_once_also_in_the_save(whole_in_halves, tmp_path):
    config, run = whole_in_halves[0], tmp_path / 'run'
    twice = at(STEP, 3, signal.SIGINT) + at(f'{DURABLE}:check_whole', 1, signal.SIGINT, save=1)
    both = start_two(config, run, befores=(twice, at(STEP, 3, signal.SIGINT)))
    assert 'ended at once, at the second one' in last_line(finish(both[0], 130))
    both[1].communicate(timeout=60)
    assert both[1].returncode in (7, 130) and not list(run.glob('*.pth'))


@pytest.mark.parametrize('workers', [0, 3])
def test_other_numbers_of_workers_have_the_same_bits(workers, whole_in_halves, tmp_path):
    config, whole = whole_in_halves
    train_two(config, tmp_path / 'run', train_dataloader__num_workers=workers,
              train_dataloader__persistent_workers=bool(workers))
    assert loss_of_steps(tmp_path / 'run') == loss_of_steps(whole)
    assert_same_end(tmp_path / 'run/epoch_3.pth', whole / 'epoch_3.pth')
    check_whole(tmp_path / 'run/epoch_3.pth')


def test_killed_in_a_step_while_a_save_is_under_way(whole_in_halves, tmp_path):
    config, whole = whole_in_halves
    run = tmp_path / 'run'
    hanging = interrupting('hang', f'{DURABLE}:check_whole', save=2)  # of the second epoch, step 10
    both = start_two(config, run, befores=(hanging + at(STEP, 13), ''), default_hooks__checkpoint__max_keep_ckpts=1)
    finish(both[0], -9)
    finish(both[1], 7)
    assert [path.name for path in run.glob('*.pth')] == ['epoch_1.pth'] and (run / '.epoch_2.pth.tmp').exists()
    assert_both_resume(config, run, whole)
