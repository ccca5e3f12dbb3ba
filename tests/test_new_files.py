"""Nothing is written over, and what cannot be written is said before any work, in the same words by all commands."""
import os
from pathlib import Path

import pytest

from nepa_mm.errors import ConfigError
from nepa_mm.new_files import new_file, require_new


def test_a_new_file_is_there_when_it_is_complete(tmp_path):
    path = tmp_path / 'made/new.pth'
    with new_file(path) as temporary:
        temporary.write_text('done')
        assert not path.exists() and temporary.parent == path.parent
    assert path.read_text() == 'done' and os.listdir(path.parent) == ['new.pth']


def test_a_new_file_is_not_written_over(tmp_path):
    path = tmp_path / 'old.pth'
    path.write_text('old')
    with pytest.raises(ConfigError, match=r"exists and would be written over.* \| .*old.pth \| "
                                              r"remove it or choose another name"):
        with new_file(path):
            raise AssertionError('opened')
    assert path.read_text() == 'old' and os.listdir(tmp_path) == ['old.pth']


def test_a_new_file_is_not_written_over_what_came_meanwhile(tmp_path):
    path = tmp_path / 'new.pth'
    with pytest.raises(ConfigError, match='exists and would be written over'):
        with new_file(path) as temporary:
            temporary.write_text('ours')
            path.write_text('theirs')
    assert path.read_text() == 'theirs' and os.listdir(tmp_path) == ['new.pth']


def test_a_link_to_what_is_gone_is_refused_before_any_work(tmp_path):
    path = tmp_path / 'new.pth'
    path.symlink_to('gone.pth')
    with pytest.raises(ConfigError, match='exists and would be written over'):
        with new_file(path):
            raise AssertionError('opened')
    assert os.listdir(tmp_path) == ['new.pth']


@pytest.mark.parametrize('error', [ValueError, KeyboardInterrupt, SystemExit])
def test_a_writer_that_fails_leaves_nothing(error, tmp_path):
    with pytest.raises(error):
        with new_file(tmp_path / 'new.pth') as temporary:
            temporary.write_text('half')
            raise error
    assert not os.listdir(tmp_path)


def test_files_and_folders_of_a_command(tmp_path):
    (tmp_path / 'old.png').write_text('old')
    (tmp_path / 'empty').mkdir()
    require_new(None, tmp_path / 'made/a.PNG', folder=tmp_path / 'empty', suffixes=('.png', '.pdf'))
    require_new(tmp_path / 'old.png', overwrite=True)
    require_new(folder=tmp_path / 'new')
    assert (tmp_path / 'old.png').read_text() == 'old' and sorted(os.listdir(tmp_path)) == ['empty', 'made', 'old.png']
    for arguments, message in [
            (dict(folder=tmp_path), r'^it exists and would be written over \| .* \| remove it or choose another name$'),
            (dict(folder=tmp_path / 'old.png'), r'^it exists and .*old.png'),
            (dict(folder=tmp_path / 'old.png/a/b'), r'^it cannot be written \(Not a directory: .*a\) \| .*b \| choose another')]:
        with pytest.raises(ConfigError, match=message):
            require_new(**arguments)
    for path, overwrite, message in [
            ('old.png', None, r'^it exists and would be written over \| .*old.png \| remove it or choose another name$'),
            ('old.png', False, r'\| remove it or choose another name, or replace it with --overwrite$'),
            ('empty', True, r'^it exists and would be written over \| .*empty \| remove it or choose another name$'),
            ('old.png/a.png', True, r'^it cannot be written \(File exists: .*old.png\)')]:
        with pytest.raises(ConfigError, match=message):
            require_new(tmp_path / path, overwrite=overwrite)
    with pytest.raises(ConfigError, match=r'^it is of no format known here \| a.xyz \| end it in .png, .pdf$'):
        require_new(tmp_path / 'a.png', Path('a.xyz'), suffixes=('.png', '.pdf'))
