import pytest
from mmengine.config import Config

from nepa_mm.errors import ConfigError
from nepa_mm.launch.work_dir import check_work_dir


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
