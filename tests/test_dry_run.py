"""Arithmetic of tools/analysis_tools/dry_run.py."""
import runpy

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import DefaultScope
from torch.torch_version import TorchVersion

from nepa_mm.errors import ConfigError
from nepa_mm.launch.checks import SETTINGS, check_config
from tiny import ROOT, counts

TOOL = runpy.run_path(str(ROOT / 'tools/analysis_tools/dry_run.py'))
PRETRAIN = ROOT / 'configs/pretrain/nepa_vit-base-p14_8xb512-amp-coslr-1600e_in1k.py'
UPERNET = ROOT / 'configs/segmentation/nepa_vit-base-p14_upernet_8xb2-amp-160k_ade20k-512x512.py'


@pytest.fixture(autouse=True)
def no_scope_stays():
    yield
    DefaultScope._instance_dict.clear()


def test_days_and_images():
    assert TOOL['days_of'](86_400 * 8 * 100, 8, 100) == 1
    # ViT-B, 1600 epochs on 8 GPUs of 2,500 images/s: 1.19 days
    count, effective, images = TOOL['schedule'](Config.fromfile(PRETRAIN), 8, 1_281_167)
    assert (count, effective, images) == (1, 4096, 1600 * 1_281_167)
    assert TOOL['days_of'](images, 8, 2500) == pytest.approx(1.19, abs=0.005)
    assert TOOL['schedule'](Config.fromfile(PRETRAIN), 2, 100)[:2] == (4, 4096)
    assert TOOL['schedule'](Config.fromfile(UPERNET), 8, 20_210) == (1, 16, 160_000 * 16)
    cfg = Config.fromfile(PRETRAIN)
    with pytest.raises(ConfigError, match='4096 is no multiple of 3 processes .* auto_scale_lr.enable=True$'):
        TOOL['schedule'](cfg, 3, 100)
    cfg.merge_from_dict({'auto_scale_lr.enable': True})
    assert TOOL['schedule'](cfg, 3, 100)[:2] == (1, 3 * 512)


def test_loops_of_mmengine_count_batches_and_keep_what_they_accumulate():
    cfg = Config.fromfile(UPERNET)
    cfg.merge_from_dict({'train_cfg.type': 'IterBasedTrainLoop', 'optim_wrapper.accumulative_counts': 4})
    assert TOOL['schedule'](cfg, 4, 20_210) == (4, 4 * 2 * 4, 160_000 * 4 * 2)


def test_an_old_torch_is_refused(monkeypatch):
    cfg = Config.fromfile(PRETRAIN)
    cfg.model.backbone.arch = dict(embed_dims=64, num_layers=2, num_heads=2, feedforward_channels=256)
    monkeypatch.setattr(torch, '__version__', TorchVersion('2.4.1'))
    with pytest.raises(ConfigError, match='^counting memory and work needs torch 2.6 or later, this is 2.4.1'):
        TOOL['dry_run'](cfg, gpus=2, mfu=0.5, device='H100', images=1000)


@counts
def test_the_table_follows_from_counts():
    cfg = Config.fromfile(PRETRAIN)
    cfg.model.backbone.arch = dict(embed_dims=64, num_layers=2, num_heads=2, feedforward_channels=256)
    cfg.merge_from_dict({'train_dataloader.batch_size': 4, 'auto_scale_lr.base_batch_size': 16})
    figures = TOOL['dry_run'](cfg, gpus=2, mfu=0.5, device='H100', images=1000)
    assert figures['estimated_images_per_s'] == pytest.approx(0.5 * 989e3 / figures['step_gflops'])
    assert figures['estimated_days'] == pytest.approx(1600 * 1000 / (2 * figures['estimated_images_per_s']) / 86400)
    assert (figures['accumulated'], figures['effective_batch']) == (2, 16)
    parts = {part: amount * 2**30 for part, amount in figures['memory_gib'].items()}
    assert parts['gradients'] == parts['average'] == parts['gradients to exchange'] == 4 * figures['parameters']
    assert parts['batch'] == pytest.approx(4 * 3 * 224**2, rel=1e-3)
    apart = sum(amount for part, amount in parts.items() if part not in ('peak', 'gradients'))
    assert apart <= parts['peak'] <= apart + parts['gradients']
    assert TOOL['table'](figures).row_count == 5 and TOOL['memory_table'](figures).row_count == 10
    by_way = figures['memory_gib_by_way']
    assert list(by_way) == ['DDP', 'FSDP2, no reshard', 'FSDP2'] and figures['memory_gib'] == by_way['DDP']
    assert figures['fits'] == dict.fromkeys(by_way, True)
    assert by_way['FSDP2']['optimizer state'] == pytest.approx(by_way['DDP']['optimizer state'] / 2)
    cfg.model_wrapper_cfg = dict(type='nepa_mm.FullyShardedDataParallel', blocks=['Block'], param_dtype='bfloat16', replicas=2)
    figures = TOOL['dry_run'](cfg, gpus=4, mfu=0.5, device='H100', images=1000, gpus_of_machine=2)
    by_way = figures['memory_gib_by_way']
    assert list(by_way) == ['HSDP', 'DDP', 'FSDP2, no reshard', 'FSDP2']
    assert by_way['HSDP']['optimizer state'] == by_way['FSDP2']['optimizer state'] * 2 == by_way['DDP']['optimizer state'] / 2
    assert by_way['HSDP']['gathered parameters'] == by_way['FSDP2']['gathered parameters'] / 2


def test_a_contradictory_config_is_refused_though_its_data_and_checkpoints_are_not_here(monkeypatch, capsys):
    monkeypatch.setattr('sys.argv', ['dry_run.py', str(PRETRAIN), '--cfg-options', 'train_dataloader.batch_size=0'])
    with pytest.raises(SystemExit) as end:
        runpy.run_path(str(ROOT / 'tools/analysis_tools/dry_run.py'), run_name='__main__')
    assert end.value.code == 2 and capsys.readouterr().err.strip() == (
        'nepa_mm: error: 0 is no whole number of 1 or more | train_dataloader.batch_size | give one')
    cfg = Config.fromfile(PRETRAIN)
    cfg.merge_from_dict({'load_from': 'nowhere.pth', 'optim_wrapper.type': 'AmpOptimWrapper'})
    check_config(cfg, ('train', ), SETTINGS)
