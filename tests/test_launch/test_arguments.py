import argparse

import pytest

from nepa_mm.errors import ConfigError
from nepa_mm.launch.read_config import load_config


def test_load_config(tmp_path):
    path = tmp_path / 'a_config.py'
    path.write_text("default_scope = 'mmpretrain'\nx = dict(y=1)\nresume = False\ntrain_dataloader = dict(batch_size=1)\n")
    args = argparse.Namespace(config=str(path), cfg_options={'resume': True}, launcher='none', work_dir=None, local_rank=0)
    cfg = load_config(args)
    assert cfg.x.y == 1 and cfg.resume and cfg.work_dir == 'work_dirs/a_config'
    assert cfg.train_dataloader.collate_fn == dict(type='default_collate')
    args.config = 'no.py'
    with pytest.raises(ConfigError, match=r'no such config file \| no.py'):
        load_config(args)
