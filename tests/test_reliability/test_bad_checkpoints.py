"""Checkpoints that are damaged after they were written, and pointers that say nothing."""
import shutil
import signal
from pathlib import Path
from zipfile import ZipFile

import pytest

from runs import assert_resumes, at, finish, loss_of_steps, start, train


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:path.stat().st_size // 2])


def cut_little(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def empty(path: Path) -> None:
    path.write_bytes(b'')


def flip(path: Path, bit: int = 1) -> None:
    """One bit of the largest tensor."""
    with ZipFile(path) as archive:
        entry = max(archive.infolist(), key=lambda entry: entry.file_size if '/data/' in entry.filename else 0)
    content = bytearray(path.read_bytes())
    content[entry.header_offset + 30 + 200 + entry.file_size // 2] ^= bit
    path.write_bytes(content)
    with ZipFile(path) as archive:
        assert archive.testzip() == entry.filename  # where it is


REASONS = {
    cut: 'it is cut, or no checkpoint',
    cut_little: 'it is cut, or no checkpoint',
    empty: 'it is empty (0 bytes)',
    flip: 'parts are not what was written, first',
}


@pytest.mark.parametrize('damage', REASONS)
def test_the_newest_is_damaged(damage, copy, whole):
    config, expected = whole('iter')
    damage(copy / 'iter_12.pth')
    log = assert_resumes(config, copy, expected)
    warning, = (line for line in log.splitlines() if 'WARNING' in line and '.pth' in line)
    assert 'iter_12.pth: ' in warning and REASONS[damage] in warning
    assert warning.endswith('resuming from iter_8.pth, the newest that is whole')


@pytest.mark.parametrize('damage', REASONS)
def test_the_one_asked_for_is_damaged(damage, copy, whole):
    damage(copy / 'iter_12.pth')
    before = contents(copy)
    message = train(whole('iter')[0], copy, '--resume', copy / 'iter_12.pth', code=4)
    assert message.splitlines()[-1].startswith('nepa_mm: error: ') and 'Traceback' not in message
    assert f'{copy}/iter_12.pth' in message and REASONS[damage] in message
    assert contents(copy) == before


@pytest.mark.parametrize('way', ['--resume', 'config'])
def test_all_are_damaged(way, copy, whole):
    for name, damage in (('iter_4', cut), ('iter_8', empty), ('iter_12', flip)):
        damage(copy / f'{name}.pth')
    before = contents(copy)
    message = train(whole('iter')[0], copy, '--resume', code=4) if way == '--resume' else train(
        whole('iter')[0], copy, code=4, resume=True)  # which is to resume or to start, but not to start over these
    line = message.splitlines()[-1]
    assert line.startswith('nepa_mm: error: ') and 'Traceback' not in message
    for name, damage in (('iter_4', cut), ('iter_8', empty), ('iter_12', flip)):
        assert f'{name}.pth: ' in line and REASONS[damage] in line
    assert contents(copy) == before


def contents(folder: Path) -> dict[str, bytes]:
    """Checkpoints and pointer."""
    return {path.name: path.read_bytes() for path in folder.glob('*') if path.suffix == '.pth' or path.name == 'last_checkpoint'}


@pytest.mark.parametrize('pointer', [None, '', '/nowhere/iter_8.pth', 'iter_4.pth'], ids=['missing', 'empty', 'stale', 'old'])
def test_the_pointer_is_no_more_than_a_hint(pointer, copy, whole):
    config, expected = whole('iter')
    path = copy / 'last_checkpoint'
    assert path.read_text() != str(copy / 'iter_12.pth')  # the work dir was moved, in all of these
    path.unlink() if pointer is None else path.write_text(pointer)
    assert f'Resuming from {copy}/iter_12.pth' in assert_resumes(config, copy, expected)


def test_checkpoints_in_a_folder_of_their_own(whole, tmp_path):
    config, expected = whole('iter')
    run, out = tmp_path / 'run', tmp_path / 'out'
    options = dict(default_hooks__checkpoint__out_dir=out, resume=True)
    stop = at('mmengine.optim:OptimWrapper.step', 6, signal.SIGTERM)
    finish(start(config, run, before=stop, **options), 143)
    assert {path.name for path in tmp_path.glob('*/**/*.pth')} == {'iter_4.pth', 'iter_6.pth'}
    (run / 'iter_6.pth').unlink()
    train(config, run, **options)  # which is to resume or to start: it must not start over these
    assert loss_of_steps(run) == loss_of_steps(expected)
    assert {path.name for path in tmp_path.glob('*/**/*.pth')} == {'iter_8.pth', 'iter_12.pth', 'iter_15.pth'}
    assert 'iter_15.pth' in train(config, run, default_hooks__checkpoint__out_dir=out, code=2)


def test_a_work_dir_that_was_moved(copy, whole):
    config, expected = whole('iter')
    moved = shutil.move(copy, copy.with_name('elsewhere'))
    assert f'Resuming from {moved}/iter_12.pth' in assert_resumes(config, moved, expected)
