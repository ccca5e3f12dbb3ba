"""What tools/analysis_tools/measure_segmentation.py counts, against figures by hand."""
import runpy
from functools import cache

import pytest
from mmengine.config import Config
from mmengine.registry import DefaultScope, init_default_scope

from nepa_mm.analysis.cost.counted_step import size
from nepa_mm.analysis.cost.training_step import shape_of_model
from nepa_mm.errors import ConfigError
from tiny import ROOT, counts

TOOL = runpy.run_path(str(ROOT / 'tools/analysis_tools/measure_segmentation.py'))
WIDTH, LAYERS, SIDE, PATCH, BATCH = 64, 3, 64, 8, 2


@pytest.fixture(scope='module')
def counted():
    """Figures of a training step of a small ViT under one linear layer: parameters, bytes, operations."""
    init_default_scope('mmseg')

    @cache
    def of(optimizer='SGD', **backbone):
        cfg = Config.fromfile(ROOT / 'configs/segmentation/nepa_vit-base-p14_linear_8xb2-amp-160k_ade20k-512x512.py')
        cfg.model.data_preprocessor.size = (SIDE, SIDE)
        for step in cfg.train_dataloader.dataset.pipeline:
            if 'crop_size' in step:
                step.crop_size = (SIDE, SIDE)
        cfg.model.decode_head.update(in_channels=WIDTH, channels=WIDTH)
        cfg.model.backbone.update(
            arch=dict(embed_dims=WIDTH, num_layers=LAYERS, num_heads=2, feedforward_channels=4 * WIDTH), patch_size=PATCH,
            out_indices=[-1], init_cfg=None, **{'frozen_stages': -1, **backbone})
        cfg.optim_wrapper = dict(type='nepa_mm.Bf16OptimWrapper', optimizer=dict(type=optimizer, lr=1.))
        return size(shape_of_model(cfg)), *TOOL['counted_cost'](cfg, BATCH)

    yield of
    DefaultScope._instance_dict.clear()


def work_by_hand() -> float:
    """Multiplications and additions of the forward pass of one image."""
    tokens = (SIDE // PATCH)**2 + 1
    block = 2 * tokens * WIDTH * 12 * WIDTH + 4 * tokens**2 * WIDTH  # qkv, output and MLP; two products of attention
    return LAYERS * block + 2 * (tokens - 1) * WIDTH * (3 * PATCH**2 + 150)


@counts
def test_work(counted):
    forward = BATCH * work_by_hand()
    tokens = (SIDE // PATCH)**2 + 1
    attention = BATCH * LAYERS * 4 * tokens**2 * WIDTH
    first_layer = BATCH * 2 * (tokens - 1) * WIDTH * 3 * PATCH**2
    # Gradients are twice the work of what they are of, and half more for attention, which computes its weights again; the first
    # layer needs none of the images.
    step = 3 * forward + attention / 2 - first_layer
    assert counted()[2] == pytest.approx(step, rel=1e-6)
    blocks = forward - first_layer - BATCH * 2 * (tokens - 1) * WIDTH * 150
    assert counted(with_cp=True)[2] == pytest.approx(step + blocks, rel=1e-6)  # every block a second time


@counts
def test_memory(counted):
    parameters, plain, _ = counted()
    _, saving, _ = counted(with_cp=True)
    _, adamw, _ = counted('AdamW', with_cp=True)
    assert parameters == sum_of_parameters()
    assert saving < plain  # at least what the blocks but one keep of their MLP, in bfloat16
    tokens = (SIDE // PATCH)**2 + 1
    assert plain - saving > (LAYERS - 1) * BATCH * tokens * 4 * WIDTH * 2
    assert adamw - saving == pytest.approx(2 * 4 * parameters, rel=0.05)  # two moments in float32


@counts
def test_a_frozen_backbone_has_no_gradients(counted):
    parameters, plain, work = counted()
    same, frozen, less = counted(frozen_stages=LAYERS)
    assert same == parameters and less < 0.4 * work
    backbone = parameters - 150 * (WIDTH + 1)
    assert plain - frozen > 4 * backbone  # gradients in float32, and activations kept for them


def test_only_a_backbone_that_can_recompute_is_asked_to():
    init_default_scope('mmseg')
    configs = {name: Config.fromfile(path) for name in ('nepa', 'mae')
               for path in (ROOT / 'configs/segmentation').glob(f'{name}_vit-base-p1*_upernet_8xb2-amp-160k_ade20k-512x512.py')}
    assert TOOL['checkpointing_choices'](configs['nepa']) == [False, True]
    assert TOOL['checkpointing_choices'](configs['mae']) == [None]
    DefaultScope._instance_dict.clear()


@pytest.mark.parametrize('path, message', [
    ('absent.py', r'no such config file \| absent.py'),
    (str(ROOT / 'configs/pretrain/nepa_vit-base-p14_8xb512-amp-coslr-1600e_in1k.py'), 'no model.decode_head'),
])
def test_other_configs_are_refused(path, message):
    with pytest.raises(ConfigError, match=message):
        TOOL['segmentation_config'](path)


def sum_of_parameters() -> int:
    # Matrices, biases, LayerNorms, LayerScale, QK-norm
    block = 12 * WIDTH**2 + 9 * WIDTH + 4 * WIDTH + 2 * WIDTH + 2 * WIDTH // 2
    return LAYERS * block + WIDTH * 3 * PATCH**2 + WIDTH + WIDTH + 2 * WIDTH + 150 * WIDTH + 150
