import pytest
import torch
from mmengine.model import BaseModel
from mmengine.registry import DefaultScope, init_default_scope
from mmpretrain.models import ImageClassifier

from nepa_mm import NEPA, NEPAViT
from nepa_mm.engine import LayerDecayOptimWrapperConstructor
from nepa_mm.errors import ConfigError
from tiny import TINY


def build(model, **paramwise_cfg):
    cfg = dict(type='OptimWrapper', optimizer=dict(type='AdamW', lr=1e-2, weight_decay=0.05))
    wrapper = LayerDecayOptimWrapperConstructor(cfg, paramwise_cfg)(model)
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    return {names[id(p)]: (g['lr'], g['weight_decay']) for g in wrapper.optimizer.param_groups for p in g['params']}, wrapper


def classifier(**kwargs):
    return ImageClassifier(
        NEPAViT(**TINY, out_type='avg_featmap', **kwargs),
        head=dict(type='mmpretrain.LinearClsHead', num_classes=4, in_channels=16, loss=dict(type='mmpretrain.CrossEntropyLoss')),
        data_preprocessor=dict(type='mmpretrain.ClsDataPreprocessor'))


def test_exact_rates_of_a_classifier():
    rates, wrapper = build(classifier(), layer_decay_rate=0.5, head_lr=7e-3)
    assert rates['backbone.patch_embed.weight'] == (1e-2 * 0.5**3, 0.05)
    assert rates['backbone.patch_embed.bias'] == (1e-2 * 0.5**3, 0)
    assert rates['backbone.cls_token'] == (1e-2 * 0.5**3, 0.05)  # as the release: only 1-D parameters go without
    assert rates['backbone.layers.0.attn.qkv.weight'] == (1e-2 * 0.5**2, 0.05)
    assert rates['backbone.layers.2.mlp.fc2.weight'] == (1e-2, 0.05)
    assert rates['backbone.layers.2.ls1.gamma'] == (1e-2, 0)
    assert rates['backbone.fc_norm.weight'] == (1e-2, 0)
    assert rates['backbone.norm.weight'] == (7e-3, 0)  # the head's, as in the release
    assert rates['head.fc.weight'] == (7e-3, 0.05) and rates['head.fc.bias'] == (7e-3, 0)
    assert len(rates) == len(list(classifier().parameters()))
    assert len(wrapper.optimizer.param_groups) == 2 * 4 + 2  # two for each depth, two for the head


def test_frozen_parameters_are_left_out():
    rates, _ = build(classifier(frozen_stages=0), layer_decay_rate=0.5)
    assert 'backbone.patch_embed.weight' not in rates and 'backbone.cls_token' in rates


def test_without_settings_the_rate_is_one_and_weight_decay_follows_rank():
    model = NEPA(NEPAViT(**TINY))
    rates, _ = build(model)
    assert {lr for lr, _ in rates.values()} == {1e-2}
    matrices = [name for name, parameter in model.named_parameters() if parameter.ndim > 1]
    assert {name for name, (_, decay) in rates.items() if decay} == set(matrices)


def test_segmentor():
    init_default_scope('mmseg')
    try:
        from mmseg.registry import MODELS
        head = dict(in_channels=16, channels=8, num_classes=3, num_convs=1)
        model = MODELS.build(dict(
            type='EncoderDecoder',
            backbone=dict(type='nepa_mm.NEPAViT', out_type='featmap', **TINY),
            decode_head=dict(type='FCNHead', **head)))
        rates, _ = build(model, layer_decay_rate=0.5)
    finally:
        DefaultScope._instance_dict.clear()
    assert rates['backbone.layers.0.ln1.weight'] == (1e-2 * 0.5**2, 0)
    assert rates['backbone.norm.weight'] == (1e-2, 0)
    assert rates['decode_head.conv_seg.weight'] == (1e-2, 0.05)


def test_errors():
    with pytest.raises(ConfigError, match=r"unknown keys \['norm_decay_mult'\]; choose from \['layer_decay_rate', 'head_lr'\]"):
        build(classifier(), norm_decay_mult=0.)

    class Foreign(BaseModel):

        def __init__(self):
            super().__init__()
            self.backbone = torch.nn.Linear(1, 1)

        def forward(self):
            pass

    with pytest.raises(ConfigError, match='backbone Linear has no get_layer_depth'):
        build(Foreign(), layer_decay_rate=0.5)
