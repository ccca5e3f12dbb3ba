import errno
import fcntl

import pytest
from mmengine.config import Config

from nepa_mm.errors import ConfigError
from nepa_mm.launch.work_dir import check_work_dir, checkpoint_folders, sole_run


def test_a_work_dir_with_another_run_is_refused_unless_it_is_resumed(tmp_path):
    cfg = Config(dict(work_dir=str(tmp_path)))
    check_work_dir(cfg)
    (tmp_path / '20260101_000000/vis_data').mkdir(parents=True)
    (tmp_path / '20260101_000000/vis_data/scalars.json').touch()
    with pytest.raises(ConfigError, match=r'holds another run \(20260101_000000\)'):
        check_work_dir(cfg)
    (tmp_path / 'epoch_3.pth').touch()
    with pytest.raises(ConfigError, match=r'holds another run \(epoch_3.pth\)'):
        check_work_dir(cfg)
    cfg.resume = True
    check_work_dir(cfg)


def test_checkpoints_elsewhere_that_are_in_the_work_dir_are_moved_once(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    cfg = Config(dict(work_dir='runs/a', launcher='none', default_hooks=dict(checkpoint=dict(out_dir='runs'))))
    assert checkpoint_folders(cfg, cfg.work_dir) == [tmp_path / 'runs/a']
    (tmp_path / 'runs/a').mkdir(parents=True)
    (tmp_path / 'runs/a/epoch_3.pth').touch()
    check_work_dir(cfg, overwrite=True)
    moved, = (tmp_path / 'runs/a').glob('replaced_*/*')
    assert moved.name == 'epoch_3.pth'
    assert checkpoint_folders(Config(dict(default_hooks=None)), 'b') == [tmp_path / 'b']


def test_a_file_system_without_locks_is_said(tmp_path, monkeypatch, capsys):
    def lockf(file, how):
        raise OSError(errno.ENOLCK, 'No locks available')

    monkeypatch.setattr(fcntl, 'lockf', lockf)
    with sole_run(Config(dict(work_dir=str(tmp_path), launcher='none'))):
        pass
    assert capsys.readouterr().err == (
        f'nepa_mm: {tmp_path} cannot be locked (No locks available): let no other training write there\n')
