"""SIGKILL within a save, at every point where it can matter, with no older checkpoint to spare."""
from itertools import cycle

import pytest

from nepa_mm.checkpoints.storage.durable import check_whole, newest_whole
from runs import assert_resumes, at, finish, interrupting, losses, start

DURABLE = 'nepa_mm.checkpoints.storage.durable'
WRITER = 'torch._C:PyTorchFileWriter'
HOOK = 'nepa_mm.engine.hooks.checkpoint_hooks'
POINTS = {  # function, which call of it in the save, killed after it rather than before
    'before the temporary file': (f'{DURABLE}:torch.save', 1, False),
    'in the temporary file, at its first part': (f'{WRITER}.write_record', 1, False),
    'at its 10th part': (f'{WRITER}.write_record', 10, False),
    'at its 60th part': (f'{WRITER}.write_record', 60, True),
    'at its 120th part': (f'{WRITER}.write_record', 120, False),
    'before its table of contents': (f'{WRITER}.write_end_of_file', 1, False),
    'after its table of contents': (f'{WRITER}.write_end_of_file', 1, True),
    'before it is on disk': (f'{DURABLE}:os.fsync', 1, False),
    'after it is on disk': (f'{DURABLE}:os.fsync', 1, True),
    'before it is checked': (f'{DURABLE}:check_whole', 1, False),
    'while it is checked': (f'{DURABLE}:is_whole', 30, False),
    'after it is checked': (f'{DURABLE}:check_whole', 1, True),
    'before it has its name': (f'{DURABLE}:os.replace', 1, False),
    'after it has its name': (f'{DURABLE}:os.replace', 1, True),
    'before its name is on disk': (f'{DURABLE}:os.fsync', 2, False),
    'after its name is on disk': (f'{DURABLE}:os.fsync', 2, True),
    'before the pointer': (f'{HOOK}:open', 1, False),
    'with an empty pointer': (f'{HOOK}:open', 1, True),
    'before old ones are looked for': (f'{HOOK}:LateRemovals.remove_now', 1, False),
    'before an old one goes': ('mmengine.fileio:LocalBackend.remove', 1, False),
    'after an old one went': ('mmengine.fileio:LocalBackend.remove', 1, True),
}


@pytest.mark.parametrize('point, kind', zip(POINTS, cycle(['iter', 'epoch'])))  # every second point for each loop
def test_killed_in_a_save_with_one_checkpoint_kept(point, kind, whole, tmp_path, background=True):
    config, expected = whole(kind)
    target, call, after = POINTS[point]
    killing = at(target, call, save=2, after=after)
    run = tmp_path / 'run'
    options = dict(default_hooks__checkpoint__max_keep_ckpts=1, default_hooks__checkpoint__background=background)
    finish(start(config, run, before=killing, **options), -9)
    check_whole(newest_whole([run], pytest.fail))  # without a warning
    has_name = list(POINTS).index(point) >= list(POINTS).index('after it has its name')
    assert (run / ('epoch_2.pth' if kind == 'epoch' else 'iter_8.pth')).exists() == has_name
    assert bool(list(run.glob('.*.tmp'))) == (not has_name and point != 'before the temporary file')
    assert_resumes(config, run, expected, '--resume', '--cfg-options', 'default_hooks.checkpoint.max_keep_ckpts=1')
    assert len(list(run.glob('*.pth'))) == 1


@pytest.mark.slow
@pytest.mark.parametrize('point', list(POINTS)[4::4])
def test_killed_in_a_save_that_the_training_waits_for(point, whole, tmp_path):
    test_killed_in_a_save_with_one_checkpoint_kept(point, 'iter', whole, tmp_path, background=False)


def test_killed_in_a_step_while_a_save_is_under_way(whole, tmp_path):
    config, expected = whole('iter')
    run = tmp_path / 'run'
    hanging = interrupting('hang', f'{DURABLE}:check_whole', save=2)  # so that the training goes on beside it, or never ends
    finish(start(config, run, before=hanging + at('mmengine.optim:OptimWrapper.step', 11),
                 default_hooks__checkpoint__max_keep_ckpts=1), -9)
    assert len(losses(run)) == 10
    assert [path.name for path in run.glob('*.pth')] == ['iter_4.pth'] and (run / '.iter_8.pth.tmp').exists()
    assert (run / 'last_checkpoint').read_text().endswith('iter_4.pth')
    assert_resumes(config, run, expected)


def test_half_of_what_was_not_yet_on_disk_is_lost(whole, tmp_path):
    config, expected = whole('epoch')
    run = tmp_path / 'run'
    losing = at(f'{DURABLE}:os.fsync', 1, save=2, truncate=str(run / '.epoch_2.pth.tmp'))
    finish(start(config, run, before=losing), -9)
    assert_resumes(config, run, expected)


def test_a_disk_that_gives_back_other_bytes_costs_no_checkpoint(whole, tmp_path):
    config, expected = whole('epoch')
    run = tmp_path / 'run'
    losing = at(f'{DURABLE}:os.fsync', 1, 0, save=2, after=True, truncate=str(run / '.epoch_2.pth.tmp'))
    message = finish(start(config, run, before=losing, default_hooks__checkpoint__max_keep_ckpts=1), 6)
    assert 'nepa_mm: error: it was written, but is not what was read back (it is cut' in message
    assert f' | {run}/epoch_2.pth | ' in message
    assert_resumes(config, run, expected)
