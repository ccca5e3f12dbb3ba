"""Checkpoints to which each process of a training writes its pieces: killed, damaged, resumed by other numbers of processes."""
from pathlib import Path

import pytest
import torch

from nepa_mm import get_model
from nepa_mm.checkpoints.storage.durable import check_whole, newest_whole
from nepa_mm.checkpoints.storage.files import read_checkpoint
from nepa_mm.checkpoints.storage.sharded_files import is_sharded
from runs import assert_equal, assert_same_end, at, finish, loss_of_steps, train, write_config
from two import start_two, train_two

pytestmark = [pytest.mark.slow, pytest.mark.skipif(torch.__version__ < (2, 6), reason='FSDP2 needs torch 2.6')]

IN_PIECES = '''
custom_imports = dict(imports='faults')
model_wrapper_cfg = dict(type='nepa_mm.FullyShardedDataParallel')
default_hooks['checkpoint'].update(sharded=True, max_keep_ckpts=1)
'''
SAVES = 'nepa_mm.checkpoints.storage.sharded_saves'
POINTS = {  # function, process, killed after it; whether the checkpoint has its name
    'before it writes its pieces': (f'{SAVES}:dcp.save', 1, False, False),
    'after it wrote its pieces': (f'{SAVES}:dcp.save', 1, True, False),
    'the first one, before the manifest': (f'{SAVES}:write_checkpoint', 0, False, False),
    'the first one, before the name': (f'{SAVES}:take_name', 0, False, False),
    'the first one, after the name': (f'{SAVES}:take_name', 0, True, True),
}


def config_in_pieces(folder: Path) -> Path:
    config = write_config(folder, 'iter')
    config.write_text(config.read_text() + IN_PIECES)
    return config


@pytest.fixture(scope='module')
def whole_two(tmp_path_factory):
    """Config and work dir of a training by two processes."""
    folder = tmp_path_factory.mktemp('two')
    config = config_in_pieces(folder)
    train_two(config, folder / 'whole')
    return config, folder / 'whole'


def test_a_training_in_pieces_keeps_the_newest_folder(whole_two):
    _, run = whole_two
    path, = run.glob('*.pth')
    assert path.name == 'iter_15.pth' and is_sharded(path)
    assert (run / 'last_checkpoint').read_text() == str(path)
    check_whole(path)


@pytest.mark.parametrize('point', POINTS)
def test_killed_in_a_save(point, whole_two, tmp_path):
    config, whole = whole_two
    target, rank, after, has_name = POINTS[point]
    run = tmp_path / 'run'
    befores = ['', '']
    befores[rank] = at(target, save=2, after=after)
    killed = start_two(config, run, befores=tuple(befores))
    finish(killed[rank], -9)
    assert 'nepa_mm: error: another process of the training died or hangs' in finish(killed[1 - rank], 7)
    found = newest_whole([run], pytest.fail)
    assert found.name == ('iter_8.pth' if has_name else 'iter_4.pth')
    train_two(config, run, '--resume')
    assert loss_of_steps(run) == loss_of_steps(whole)
    assert_same_end(run / 'iter_15.pth', whole / 'iter_15.pth')
    assert [path.name for path in run.glob('*.pth*')] == ['iter_15.pth'] and not list(run.glob('.*.tmp'))


def test_four_two_one_and_four_processes_go_on_from_the_same_bits(tmp_path):
    config, run = config_in_pieces(tmp_path), tmp_path / 'run'
    config.write_text(
        config.read_text() + "auto_scale_lr = dict(base_batch_size=8)\ndefault_hooks['checkpoint'].update(max_keep_ckpts=2)\n")
    train_two(config, run, befores=('', ) * 4)
    first, settings = run / 'iter_12.pth', config.read_text()
    path = first
    for count, name in ((2, 'by_2.pth'), (1, 'by_1.pth'), (4, 'by_4.pth')):
        # What the training begins from is saved again, and resumed from next
        config.write_text(f"{settings}custom_hooks.append(dict(type='SaveAtOnce', name='{name}'))\n")
        arguments = ['--resume', path, '--allow-resume-change']
        if count == 1:
            train(config, run, *arguments)
        else:
            train_two(config, run, *arguments, befores=('', ) * count)
        path = run / name
        assert is_sharded(path) == (count > 1)  # one process has the model whole, and writes a file
        assert_same_end(first, path)
    pieces = [len(list((run / name).glob('*.distcp'))) for name in (first.name, 'by_2.pth', 'by_4.pth')]
    assert pieces == [4, 2, 4]


def test_a_folder_is_read_where_a_file_is(whole_two, tmp_path):
    config, run = whole_two
    weights = read_checkpoint(run / 'iter_15.pth')['state_dict']
    assert_equal(dict(get_model(str(run / 'iter_15.pth')).state_dict()), dict(weights), 'state_dict')
    train(config, tmp_path / 'run', load_from=run / 'iter_15.pth', train_cfg__max_iters=1)
    moved = read_checkpoint(tmp_path / 'run/iter_1.pth')['ema_state_dict']
    assert max((moved[f'module.{name}'] - value).abs().max().item() for name, value in weights.items()
               if value.is_floating_point()) < 2e-3  # one step of Adam from there
