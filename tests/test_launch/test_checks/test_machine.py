"""What is missing on a machine is said by its key before a run begins."""
import pytest
from mmengine.config import Config

from nepa_mm.errors import CheckpointError, ConfigError
from nepa_mm.launch.checks.machine import check_checkpoints, check_device


def test_a_missing_checkpoint_names_key_and_path(tmp_path):
    key = 'model.backbone.init_cfg.checkpoint'
    cfg = Config(dict(model=dict(backbone=dict(init_cfg=dict(checkpoint=str(tmp_path / 'no.pth'))))))
    with pytest.raises(CheckpointError, match=rf"/no.pth': there is no such checkpoint \| {key} \| .*--cfg-options {key}=PATH"):
        check_checkpoints(cfg)
    cfg.model.backbone.init_cfg.checkpoint = f'raw:{tmp_path}/no.pth'
    with pytest.raises(CheckpointError, match=r"'raw:.*/no.pth': there is no such checkpoint.* \| .*checkpoint"):
        check_checkpoints(cfg)
    (tmp_path / 'no.pth').touch()
    check_checkpoints(cfg)
    for fine in (dict(), dict(model=dict(backbone=dict(init_cfg=None))), dict(model=dict(backbone=dict(init_cfg=[]))),
                 dict(load_from='https://host/a.pth')):
        check_checkpoints(Config(fine))
    cfg.load_from = str(tmp_path / 'gone.pth')  # test.py and --resume would set it again
    with pytest.raises(CheckpointError, match=r"/gone.pth': there is no such checkpoint \| load_from \| give the path of a "):
        check_checkpoints(cfg, ('test', ))
    cfg.load_from = str(tmp_path)
    with pytest.raises(CheckpointError, match=r'is a folder \| load_from'):
        check_checkpoints(cfg, ('test', ))
    (tmp_path / 'no.pth').unlink()
    check_checkpoints(Config(dict(model=cfg.model)), ('test', ))  # which reads no other


@pytest.mark.parametrize('kind', ['AmpOptimWrapper', 'mmengine.AmpOptimWrapper'])
def test_mixed_precision_of_mmengine_needs_a_gpu(kind, monkeypatch):
    cfg = Config(dict(optim_wrapper=dict(type=kind, optimizer=dict(type='AdamW'))))
    monkeypatch.setattr('mmengine.device.get_device', lambda: 'cpu')
    with pytest.raises(ConfigError, match=rf"^'{kind}' needs a GPU, and there is none \| optim_wrapper.type \| .*--amp"):
        check_device(cfg, ('train', ))
    check_device(cfg, ('test', ))
    for fine in ('OptimWrapper', 'nepa_mm.Bf16OptimWrapper', 'own.AmpOptimWrapper', None):
        check_device(Config(dict(optim_wrapper=dict(type=fine))), ('train', ))
    monkeypatch.setattr('mmengine.device.get_device', lambda: 'npu')
    check_device(cfg, ('train', ))
    check_device(Config(dict(optim_wrapper=None)))
