"""Checkpoints to which each process of a training writes its pieces: killed, damaged, resumed by other numbers of processes."""
import shutil
from math import prod
from pathlib import Path

import pytest
import torch

from nepa_mm import get_model
from nepa_mm.checkpoints.storage.durable import check_whole, newest_whole
from nepa_mm.checkpoints.storage.files import read_checkpoint
from nepa_mm.checkpoints.storage.names import is_sharded
from nepa_mm.checkpoints.storage.sharded_files import read_manifest
from runs import assert_equal, assert_same_end, at, finish, last_line, loss_of_steps, train, write_config
from two import SHARDED, start_two, train_two

pytestmark = [pytest.mark.slow, pytest.mark.skipif(torch.__version__ < (2, 6), reason='FSDP2 needs torch 2.6')]

IN_PIECES = '''
custom_imports = dict(imports='faults')
default_hooks['checkpoint'].update(sharded=True, max_keep_ckpts=1)
'''
KEPT = dict(default_hooks__checkpoint__max_keep_ckpts=3)
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
    config.write_text(config.read_text() + SHARDED + IN_PIECES)
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


@pytest.fixture(scope='module')
def killed(whole_two, tmp_path_factory):
    """A training that was killed when it had three folders."""
    run = tmp_path_factory.mktemp('killed') / 'run'
    both = start_two(whole_two[0], run, befores=('', at('mmengine.optim:OptimWrapper.step', 14)), **KEPT,
                     default_hooks__checkpoint__background=False)
    finish(both[0], 7)
    finish(both[1], -9)
    assert {path.name for path in run.glob('*.pth')} == {'iter_4.pth', 'iter_8.pth', 'iter_12.pth'}
    return run


@pytest.mark.parametrize('kind', ['cut', 'flip', 'missing'])
def test_a_piece_of_the_newest_is_damaged(kind, killed, whole_two, tmp_path):
    config, whole = whole_two
    run = shutil.copytree(killed, tmp_path / 'run')
    piece, = (run / 'iter_12.pth').glob('__1_*.distcp')
    content = piece.read_bytes()
    piece.write_bytes(content[:-1] if kind == 'cut' else bytes([*content[:-99], content[-99] ^ 1, *content[-98:]]))
    if kind == 'missing':
        piece.unlink()
    said = train_two(config, run, '--resume', run / 'iter_12.pth', code=4)
    assert f'{piece.name} ' in last_line(said[0])
    train_two(config, run, '--resume', **KEPT)
    assert 'resuming from iter_8.pth, the newest that is whole' in max(run.glob('*/*.log')).read_text()
    assert loss_of_steps(run) == loss_of_steps(whole)
    assert_same_end(run / 'iter_15.pth', whole / 'iter_15.pth')


def test_the_disk_of_one_is_full(killed, whole_two, tmp_path):
    config, whole = whole_two
    run = shutil.copytree(killed, tmp_path / 'run')
    before = {path: path.read_bytes() for path in run.glob('*.pth/*')}
    limit = (run / 'iter_12.pth/__1_0.distcp').stat().st_size // 2
    full = f'import resource; resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit}))\n'
    said = [finish(process, 6) for process in start_two(config, run, '--resume', befores=('', full), **KEPT)]
    assert f' | {run}/iter_15.pth | make room' in last_line(said[0])
    assert {path: path.read_bytes() for path in run.glob('*.pth/*')} == before and not list(run.glob('.*.tmp'))
    train_two(config, run, '--resume', **KEPT)
    assert_same_end(run / 'iter_15.pth', whole / 'iter_15.pth')


READS = '''
import atexit, os
import nepa_mm.engine.parallel.pieces as pieces
from nepa_mm.checkpoints.storage import sharded_files
read_tensor, counts = sharded_files.read_tensor, [0, 0]
def count_and_read(folder, entry, rows=None):
    tensor = read_tensor(folder, entry, rows)
    counts[rows is None] += tensor.nbytes
    with open(f"{os.environ['READS']}.{os.environ.get('RANK', 0)}", 'w') as file:
        print(*counts, file=file)
    return tensor
sharded_files.read_tensor = pieces.read_tensor = count_and_read
'''


@pytest.mark.parametrize('groups', [1, 2])
def test_four_two_one_and_four_processes_go_on_from_the_same_bits(groups, tmp_path):
    """Each of which reads its own pieces; of four, two may be a group that holds the model."""
    config, run = config_in_pieces(tmp_path), tmp_path / 'run'
    config.write_text(config.read_text() + f"model_wrapper_cfg['replicas'] = {groups}\n")
    config.write_text(
        config.read_text() + "auto_scale_lr = dict(base_batch_size=8)\ndefault_hooks['checkpoint'].update(max_keep_ckpts=2)\n")
    train_two(config, run, befores=('', ) * 4)
    first, settings = run / 'iter_12.pth', config.read_text()
    path = first
    for count, name in ((2, 'by_2.pth'), (1, 'by_1.pth'), (4, 'by_4.pth')):
        # What the training begins from is saved again, and resumed from next
        config.write_text(f"{settings}custom_hooks.append(dict(type='SaveAtOnce', name='{name}'))\n")
        arguments, env = ['--resume', path, '--allow-resume-change'], dict(READS=str(tmp_path / f'reads_{count}'))
        saved = [entry for entry in read_manifest(path)[1]] if is_sharded(path) else []
        if count == 1:
            train(config, run, *arguments)
        else:
            train_two(config, run, *arguments, befores=(READS, ) * count, env=env,
                      model_wrapper_cfg__replicas=groups if count == 4 else 1)
        if count == 2:
            reads = [list(map(int, (tmp_path / f'reads_2.{rank}').read_text().split())) for rank in range(2)]
            total = sum(4 * prod(entry.shape) for entry in saved)
            assert sum(own for own, _ in reads) == total and all(0.4 * total < own < 0.6 * total for own, _ in reads)
            assert not any(whole for _, whole in reads)
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
