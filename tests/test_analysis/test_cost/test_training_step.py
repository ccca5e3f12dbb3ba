"""Work and memory of training steps, against the same by hand."""
from pathlib import Path

import mmpretrain
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import DefaultScope

from nepa_mm.analysis.cost.counted_step import size
from nepa_mm.analysis.cost.made_up_batch import made_up_batch
from nepa_mm.analysis.cost.training_step import (
    averaging,
    ema_hooks,
    memory_parts,
    operations,
    shape_of_model,
    without_checkpoints,
)
from nepa_mm.errors import ConfigError
from tiny import ROOT, counts

PRETRAIN = ROOT / 'configs/pretrain/nepa_vit-base-p14_8xb512-amp-coslr-1600e_in1k.py'
FINETUNE = ROOT / 'configs/classification/nepa_vit-base-p14_8xb128-coslr-100e_in1k.py'
UPERNET = ROOT / 'configs/segmentation/nepa_vit-base-p14_upernet_8xb2-amp-160k_ade20k-512x512.py'
SMALL = dict(embed_dims=64, num_layers=2, num_heads=2, feedforward_channels=256)


def by_hand(width: int, layers: int, patch: int, image: int, gated: bool = False, hidden: int | None = None) -> tuple[int, int]:
    """Operations of an image, forward and of a training step, of a NEPA ViT with [CLS]."""
    patches, hidden = (image // patch)**2, hidden or 4 * width
    tokens = patches + 1
    linear = 2 * tokens * width * (4 * width + (3 if gated else 2) * hidden)
    attention = 2 * 2 * tokens**2 * width
    embedding = 2 * patches * 3 * patch**2 * width
    forward = layers * (linear + attention) + embedding
    return forward, 3 * forward - embedding  # images need no gradient


@pytest.fixture
def config():
    yield lambda path, **changes: without_checkpoints(changed(Config.fromfile(path), changes))
    DefaultScope._instance_dict.clear()


def changed(cfg: Config, changes: dict) -> Config:
    for key, value in changes.items():
        *parts, last = key.split('__')
        part = cfg
        for name in parts:
            part = part[name]
        part[last] = value
    return cfg


def test_the_formula_gives_the_figures_that_are_known():
    """GFLOPs of ViT-B and ViT-L with 257 tokens."""
    assert [round(value / 1e9, 1) for value in by_hand(768, 12, 14, 224)] == [46.3, 138.7]
    assert [round(value / 1e9, 1) for value in by_hand(1024, 24, 14, 224)] == [162.0, 485.8]


@pytest.mark.parametrize('changes', [
    dict(), dict(gated_mlp=True, act='silu'), dict(with_cp=True), dict(causal=False)], ids=str)
@counts
def test_work_of_pretraining(config, changes):
    cfg = config(PRETRAIN, model__backbone__arch=SMALL, **{f'model__backbone__{key}': value for key, value in changes.items()})
    expected = by_hand(64, 2, 14, 56, gated=changes.get('gated_mlp', False))
    assert operations(cfg, img_size=56) == pytest.approx(expected)


@counts
def test_work_and_parameters_of_the_base_model(config):
    cfg = config(PRETRAIN)
    assert operations(cfg) == pytest.approx(by_hand(768, 12, 14, 224))
    model = shape_of_model(cfg)
    # Matrices and biases, LayerNorms, LayerScale; embedding, [CLS], the final norm
    block = 12 * 768**2 + 9 * 768 + 4 * 768 + 2 * 768
    assert size(model) == size(model, trained=True) == 12 * block + 768 * 3 * 14**2 + 768 + 768 + 2 * 768 == 85_527_552


@counts
def test_what_is_frozen_needs_no_gradients(config):
    cfg = config(FINETUNE, model__backbone__arch=SMALL, model__head__in_channels=64)
    embedding, classifier = 2 * 256 * 588 * 64, 2 * 64 * 1000
    forward, step = by_hand(64, 2, 14, 224)
    assert operations(cfg) == pytest.approx((forward + classifier, step + 3 * classifier - embedding), rel=2e-4)
    model = shape_of_model(cfg)
    assert size(model) - size(model, trained=True) == 588 * 64 + 64


@counts
def test_memory(config):
    small = dict(model__backbone__arch=SMALL)
    few, many = (memory_parts(config(PRETRAIN, **small), batch) for batch in (2, 6))
    parameters = 4 * size(shape_of_model(config(PRETRAIN, **small)))
    assert few['parameters'] == pytest.approx(parameters, rel=0.01)
    assert few['optimizer state'] == pytest.approx(2 * parameters, rel=0.01)
    assert many['parameters'] == few['parameters'] and many['optimizer state'] == few['optimizer state']
    assert many['activations'] / few['activations'] == pytest.approx(3, rel=0.15)  # weights in bfloat16 are there once
    saving = memory_parts(config(PRETRAIN, model__backbone__with_cp=True, **small), 6)
    assert saving['activations'] < 0.8 * many['activations']


@counts
def test_segmentation_is_counted(config):
    cfg = config(
        UPERNET, model__backbone__arch=dict(SMALL, num_layers=4), model__backbone__out_indices=[0, 1, 2, 3],
        model__neck__embed_dim=64, model__decode_head__in_channels=[64] * 4, model__decode_head__channels=16,
        model__auxiliary_head__in_channels=64, model__auxiliary_head__channels=16)
    forward, step = operations(cfg)
    assert by_hand(64, 4, 14, 518)[0] < forward and 2.8 < step / forward <= 3


@counts
def test_foreign_configs_are_counted(config):
    """mmpretrain's Swin cannot be built without memory, and its mixed precision not without a GPU."""
    path = Path(mmpretrain.__file__).parent / '.mim/configs/swin_transformer/swin-tiny_16xb64_in1k.py'
    if not path.is_file():
        pytest.skip('mmpretrain is not installed from a wheel')
    cfg = config(path)
    cfg.optim_wrapper.update(type='AmpOptimWrapper', loss_scale='dynamic', dtype='float16')
    forward, step = operations(cfg)
    assert forward / 2e9 == pytest.approx(4.5, abs=0.1) and 2.8 < step / forward < 3  # multiplications as its paper has them
    assert size(shape_of_model(cfg)) == 28_288_354


def test_the_average_of_the_config_is_kept(config):
    cfg = config(PRETRAIN)
    cfg.custom_hooks[0].momentum = 0.5
    model = torch.nn.Linear(1, 1, bias=False)
    hook, = ema_hooks(cfg)
    average = averaging(hook, model)
    for weight in (1., 3.):
        torch.nn.init.constant_(model.weight, weight)
        average()
    assert hook.ema_model.module.weight.item() == 2.


@counts
def test_what_depends_on_values_is_refused_in_one_line(config):
    path, = (ROOT / 'configs/pretrain').glob('mocov3_nepa*')
    with pytest.raises(ConfigError, match=r"'MoCoV3' cannot be counted.* \| model.type"):
        operations(config(path))


@counts
def test_a_config_with_labels_gets_them(config):
    cfg = config(PRETRAIN.with_name(f'{PRETRAIN.stem}-labels.py'), model__backbone__arch=SMALL, model__cls_head__in_channels=64)
    labels = [sample.gt_label.item() for sample in made_up_batch(cfg, 2)['data_samples']]
    assert labels == [0, 0] and operations(cfg)[0] > by_hand(64, 2, 14, 224)[0]  # the classifier on top
