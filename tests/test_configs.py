"""Every config loads, builds and says what STYLE asks of its header."""
import re
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import MODELS, DefaultScope, init_default_scope

from tiny import ROOT

CONFIGS = sorted((ROOT / 'configs').glob('*/nepa_*.py'))
REAL = [path for path in CONFIGS if '_8xb' in path.name]


@pytest.fixture
def scope():
    yield init_default_scope
    DefaultScope._instance_dict.clear()


def depth(path: Path) -> int:
    bases = Config._get_base_files(str(path))
    return 1 + max((depth(path.parent / base) for base in bases), default=-1)


def names(paths):
    return [path.stem for path in paths]


@pytest.mark.parametrize('path', CONFIGS, ids=names(CONFIGS))
def test_builds(path, scope):
    cfg = Config.fromfile(path)
    scope(cfg.default_scope)
    cfg.model.backbone.init_cfg = None
    with torch.device('meta'):
        model = MODELS.build(cfg.model)
    arch = re.search('vit-(base|large|tiny|mini)', path.name)[1]
    assert model.backbone.embed_dims == dict(base=768, large=1024, tiny=192, mini=128)[arch]
    assert depth(path) <= 2 and '_delete_' not in path.read_text()


@pytest.mark.parametrize('path', CONFIGS, ids=names(CONFIGS))
def test_header_gives_command_hardware_and_numbers(path):
    header = path.read_text().split('_base_')[0]
    assert str(path.relative_to(ROOT)) in header and 'Hardware:' in header
    if path in REAL:
        assert re.search(r'(paper|release) \d\d\.\d', header) and 'ours not run' in header


@pytest.mark.parametrize('name, batch, accumulated, lr, epochs, warmup', [
    ('pretrain/nepa_vit-base-p14_8xb512-amp-coslr-1600e_in1k', 512, 1, 4.8e-3, 1600, 40),
    ('pretrain/nepa_vit-large-p14_8xb256-amp-coslr-800e_in1k', 256, 2, 4.8e-3, 800, 20),
])
def test_pretraining_recipe(name, batch, accumulated, lr, epochs, warmup):
    for variant in ('', '-paper'):
        cfg = Config.fromfile(ROOT / f'configs/{name}{variant}.py')
        assert cfg.train_dataloader.batch_size == batch and 8 * batch * accumulated == 4096
        assert cfg.optim_wrapper.get('accumulative_counts', 1) == accumulated
        assert cfg.optim_wrapper.optimizer == dict(type='AdamW', lr=pytest.approx(lr), betas=(0.9, 0.95), weight_decay=0.05)
        assert cfg.optim_wrapper.clip_grad == dict(max_norm=1.0)
        warm, cosine = cfg.param_scheduler
        assert (warm.end, cosine.begin, cosine.T_max, cosine.end) == (warmup, warmup, epochs - warmup, epochs)
        assert cfg.train_cfg.max_epochs == epochs and warmup / epochs == 0.025
        ema, = cfg.custom_hooks
        assert (1 - ema.momentum)**accumulated == pytest.approx(0.9999)
        assert cfg.train_dataloader.dataset.pipeline[1].crop_ratio_range == (0.08, 1.0)
        assert cfg.model.backbone.get('gated_mlp', False) == bool(variant)


@pytest.mark.parametrize('name, lr, epochs, warmup, decay, drop_path, resize', [
    ('nepa_vit-base-p14_8xb128-coslr-100e_in1k', 6e-3, 100, 20, 0.65, 0.1, 256),
    ('nepa_vit-large-p14_8xb128-coslr-50e_in1k', 4e-3, 50, 15, 0.75, 0.2, 235),
    ('nepa_vit-base-p14_8xb128-coslr-100e_in1k-paper', 4e-3, 100, 5, 0.35, 0.1, 256),
    ('nepa_vit-large-p14_8xb128-coslr-50e_in1k-paper', 4e-3, 50, 5, 0.6, 0.2, 235),
])
def test_fine_tuning_recipe(name, lr, epochs, warmup, decay, drop_path, resize):
    cfg = Config.fromfile(ROOT / f'configs/classification/{name}.py')
    paper = name.endswith('paper')
    schedule = cfg.param_scheduler
    assert cfg.optim_wrapper.optimizer.lr == pytest.approx(lr) and cfg.optim_wrapper.paramwise_cfg == dict(head_lr=1e-3)
    assert (schedule.decay, schedule.warmup, schedule.end) == (decay, warmup, epochs)
    assert schedule.layerwise_warmup != paper
    assert (schedule.get('decay_end'), schedule.get('decay_anneal')) == ((1.0, 'linear') if paper else (None, None))
    backbone = cfg.model.backbone
    assert (backbone.drop_path_rate, backbone.frozen_stages, backbone.causal) == (drop_path, 0, False)
    assert cfg.test_dataloader.dataset.pipeline[1].scale == resize
    pretrained = Path(backbone.init_cfg.checkpoint).parent.name
    assert (ROOT / f'configs/pretrain/{pretrained}.py').exists() and pretrained.endswith('paper') == paper


@pytest.mark.parametrize('arch', ['base', 'large'])
def test_segmentation_recipe(arch):
    cfg = Config.fromfile(ROOT / f'configs/segmentation/nepa_vit-{arch}-p14_upernet_8xb2-amp-160k_ade20k-512x512.py')
    assert cfg.train_dataloader.batch_size == 2 and cfg.train_cfg.max_iters == 160000
    assert cfg.optim_wrapper.type == 'nepa_mm.Bf16OptimWrapper' and cfg.optim_wrapper.optimizer.lr == 1e-4
    assert cfg.optim_wrapper.paramwise_cfg == dict(layer_decay_rate=0.65) and cfg.param_scheduler[0].end == 1500
    assert cfg.model.test_cfg == dict(mode='slide', crop_size=(512, 512), stride=(341, 341))
    assert cfg.model.backbone.causal is False and cfg.model.decode_head.num_classes == 150
