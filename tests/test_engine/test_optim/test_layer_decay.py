import json

import pytest
import torch
from mmengine.model import BaseModel
from mmengine.optim import OptimWrapper
from mmengine.registry import DefaultScope, init_default_scope
from mmpretrain.models import ImageClassifier

from nepa_mm import NEPA, NEPAViT
from nepa_mm.engine import LayerDecayCosineLR, LayerDecayOptimWrapperConstructor
from nepa_mm.engine.optim.layer_decay import layer_decay_factor
from nepa_mm.errors import ConfigError
from nepa_mm.registry import PARAM_SCHEDULERS
from tiny import GOLDEN, TINY, needs_golden


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
    with pytest.raises(ConfigError, match=r"unknown keys \['norm_decay_mult'\].* \| "
                                          r"choose from \['layer_decay_rate', 'head_lr'\]"):
        build(classifier(), norm_decay_mult=0.)

    class Foreign(BaseModel):

        def __init__(self):
            super().__init__()
            self.backbone = torch.nn.Linear(1, 1)

        def forward(self):
            pass

    with pytest.raises(ConfigError, match='backbone Linear has no get_layer_depth'):
        build(Foreign(), layer_decay_rate=0.5)
    without_rate = dict(type='OptimWrapper', optimizer=dict(type='AdamW'))
    with pytest.raises(ConfigError, match=r'^None is no number \| optim_wrapper.optimizer.lr'):
        LayerDecayOptimWrapperConstructor(without_rate, {})(classifier())


# Parameters of a block of mmpretrain's ViTs, with weight decay and without
BLOCK_MATRICES = ('attn.qkv.weight', 'attn.proj.weight', 'ffn.layers.0.0.weight', 'ffn.layers.1.weight')
BLOCK_VECTORS = ('ln1.weight', 'ln1.bias', 'ln2.weight', 'ln2.bias', 'attn.proj.bias', 'ffn.layers.0.0.bias', 'ffn.layers.1.bias')


def expected_rates(outside, matrices, vectors):
    """Rates at base 1e-2 and decay 0.5: ``outside`` gives depth, and the number of dimensions, of what is in no block."""
    rates = {name: (1e-2 * 0.5**depth, 0.05 if ndim > 1 else 0) for name, (depth, ndim) in outside.items()}
    for i, depth in enumerate((2, 1, 0)):
        rates.update({f'backbone.layers.{i}.{name}': (1e-2 * 0.5**depth, 0.05) for name in matrices})
        rates.update({f'backbone.layers.{i}.{name}': (1e-2 * 0.5**depth, 0) for name in vectors})
    return rates


STEM = {
    'backbone.cls_token': (3, 3),
    'backbone.patch_embed.projection.weight': (3, 4),
    'backbone.patch_embed.projection.bias': (3, 1),
}


@pytest.mark.parametrize('pool', ['avg_featmap', 'cls_token'])
def test_exact_rates_of_mmpretrain_s_vit(pool):
    head = dict(type='mmpretrain.LinearClsHead', num_classes=4, in_channels=16, loss=dict(type='mmpretrain.CrossEntropyLoss'))
    backbone = dict(type='mmpretrain.VisionTransformer', out_type=pool, final_norm=True, layer_scale_init_value=0.1, **TINY)
    model = ImageClassifier(backbone, head=head, data_preprocessor=dict(type='mmpretrain.ClsDataPreprocessor'))
    expected = expected_rates({**STEM, 'backbone.pos_embed': (3, 3)}, BLOCK_MATRICES,
                              (*BLOCK_VECTORS, 'attn.qkv.bias', 'attn.gamma1.weight', 'ffn.gamma2.weight'))
    if pool == 'avg_featmap':  # the release's fc_norm
        expected.update({'backbone.ln2.weight': (1e-2, 0), 'backbone.ln2.bias': (1e-2, 0)})
    for name in ('backbone.ln1.weight', 'backbone.ln1.bias', 'head.fc.bias'):
        expected[name] = (7e-3, 0)
    expected['head.fc.weight'] = (7e-3, 0.05)
    assert build(model, layer_decay_rate=0.5, head_lr=7e-3)[0] == expected


@pytest.mark.parametrize('shared', [True, False])
def test_exact_rates_of_beit(shared):
    head = dict(type='mmpretrain.LinearClsHead', num_classes=4, in_channels=16, loss=dict(type='mmpretrain.CrossEntropyLoss'))
    backbone = dict(type='mmpretrain.BEiTViT', use_rel_pos_bias=not shared, use_shared_rel_pos_bias=shared, **TINY)
    model = ImageClassifier(backbone, head=head, data_preprocessor=dict(type='mmpretrain.ClsDataPreprocessor'))
    table = 'relative_position_bias_table'
    outside = {**STEM, 'backbone.ln2.weight': (0, 1), 'backbone.ln2.bias': (0, 1)}
    if shared:
        outside[f'backbone.rel_pos_bias.{table}'] = (0, 2)
    expected = expected_rates(outside, BLOCK_MATRICES if shared else (*BLOCK_MATRICES, f'attn.{table}'),
                              (*BLOCK_VECTORS, 'gamma_1', 'gamma_2', 'attn.q_bias', 'attn.v_bias'))
    expected.update({'head.fc.weight': (7e-3, 0.05), 'head.fc.bias': (7e-3, 0)})
    assert build(model, layer_decay_rate=0.5, head_lr=7e-3)[0] == expected


def test_exact_rates_of_mmpretrain_s_vit_in_a_segmentor():
    init_default_scope('mmseg')
    try:
        from mmseg.registry import MODELS
        model = MODELS.build(dict(
            type='EncoderDecoder',
            backbone=dict(type='mmpretrain.VisionTransformer', out_type='featmap', final_norm=False, **TINY),
            decode_head=dict(type='FCNHead', in_channels=16, channels=8, num_classes=3, num_convs=1)))
        rates, _ = build(model, layer_decay_rate=0.5)
    finally:
        DefaultScope._instance_dict.clear()
    outside = {**STEM, 'backbone.pos_embed': (3, 3)}
    for name, parameter in model.decode_head.named_parameters(prefix='decode_head'):
        outside[name] = (0, parameter.ndim)
    assert rates == expected_rates(outside, BLOCK_MATRICES, (*BLOCK_VECTORS, 'attn.qkv.bias'))


def test_a_backbone_of_ours_and_one_of_mmpretrain_s_get_the_same_rates():
    vit = ImageClassifier(
        dict(type='mmpretrain.VisionTransformer', out_type='avg_featmap', **TINY),
        data_preprocessor=dict(type='mmpretrain.ClsDataPreprocessor'))
    ours, theirs = (build(model, layer_decay_rate=0.5, head_lr=7e-3)[0] for model in (classifier(), vit))
    for name, other in [('patch_embed.weight', 'patch_embed.projection.weight'), ('cls_token', ) * 2, ('norm.bias', 'ln1.bias'),
                        ('fc_norm.weight', 'ln2.weight')] + [(f'layers.{i}.attn.qkv.weight', ) * 2 for i in range(3)]:
        assert ours[f'backbone.{name}'] == theirs[f'backbone.{other}'], name


SCHEDULES = {
    'llrd_cosine llrd=0.35->1.0': dict(decay=0.35, decay_end=1.),
    'llrd_cosine llrd=0.65 fixed': dict(decay=0.65),
    'llrd_cosine_warmup llrd=0.65': dict(decay=0.65, layerwise_warmup=True),
}


def optimizer(depths=(0, 1, 6, 12), rate=1., lr=1.):
    groups = [dict(params=[torch.nn.Parameter(torch.zeros(1))], lr=lr, layer_depth=d, layer_decay_rate=rate) for d in depths]
    return OptimWrapper(torch.optim.AdamW(groups, lr=lr))


def rates(wrapper):
    return [group['lr'] for group in wrapper.optimizer.param_groups]


@needs_golden
@pytest.mark.parametrize('name', SCHEDULES)
def test_equals_the_release_at_every_listed_step_also_after_resume(name):
    expected = json.loads((GOLDEN / 'llrd_schedules.json').read_text())[name]
    settings = dict(end=expected['total_steps'], warmup=expected['warmup_steps'], by_epoch=False, **SCHEDULES[name])
    wrapper = optimizer(expected['llrd_scale'])
    scheduler = LayerDecayCosineLR(wrapper, **settings)
    for step in range(100):
        if step == 47:  # as a resumed run does
            state, groups = scheduler.state_dict(), wrapper.state_dict()
            wrapper = optimizer(expected['llrd_scale'])
            scheduler = LayerDecayCosineLR(wrapper, **settings)
            scheduler.load_state_dict(state)
            wrapper.load_state_dict(groups)
        if str(step) in expected['lr_factor_at_step']:
            assert rates(wrapper) == pytest.approx(expected['lr_factor_at_step'][str(step)], abs=1e-9, rel=0), step
        wrapper.step()
        scheduler.step()


def test_linear_rise_of_the_decay():
    # Half way, the decay is half way; warm-up over, the cosine of half of the rest
    assert layer_decay_factor(50, 3, 100, 0, 0.35, decay_end=1., decay_anneal='linear') == pytest.approx(0.675**3 * 0.5)
    assert layer_decay_factor(0, 3, 100, 0, 0.35, decay_end=1., decay_anneal='linear') == pytest.approx(0.35**3)
    assert layer_decay_factor(99, 12, 100, 0, 0.35, decay_end=1., decay_anneal='linear') / layer_decay_factor(
        99, 0, 100, 0, 0.35) == pytest.approx(0.9935**12)


def test_a_later_begin_still_ends_at_zero():
    wrapper = optimizer()
    scheduler = LayerDecayCosineLR(wrapper, decay=0.5, begin=50, end=100, warmup=10, by_epoch=False)
    seen = []
    for _ in range(100):
        seen.append(rates(wrapper)[1])
        wrapper.step()
        scheduler.step()
    assert seen[:50] == [1.] * 50 and seen[50] == 0 and seen[60] == pytest.approx(0.5) and seen[99] < 1e-3


def test_epochs_become_iterations():
    wrapper = optimizer(lr=2.)
    scheduler = PARAM_SCHEDULERS.build(
        dict(type='LayerDecayCosineLR', decay=0.5, end=10, warmup=2, by_epoch=True, convert_to_iter_based=True),
        default_args=dict(optimizer=wrapper, epoch_length=5))
    for _ in range(5):
        wrapper.step()
        scheduler.step()
    assert not scheduler.by_epoch
    assert rates(wrapper) == pytest.approx([2 * 0.5 * 0.5**depth for depth in (0, 1, 6, 12)])


def test_a_long_warmup_is_refused_in_the_unit_of_the_config():
    with pytest.raises(ConfigError, match=r'^12 is not in \[0, 10\].* \| warmup'):
        PARAM_SCHEDULERS.build(
            dict(type='LayerDecayCosineLR', decay=0.5, end=10, warmup=12, by_epoch=True, convert_to_iter_based=True),
            default_args=dict(optimizer=optimizer(), epoch_length=5))


def test_groups_that_decay_already_are_refused():
    with pytest.raises(ConfigError, match=r'not of 0.65 \| optim_wrapper.constructor \| .* leave layer_decay_rate at 1'):
        LayerDecayCosineLR(optimizer(rate=0.65), decay=0.65, end=10)
    plain = OptimWrapper(torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.))
    with pytest.raises(ConfigError, match=r"optim_wrapper.constructor \| set 'nepa_mm.LayerDecayOptimWrapperConstructor'"):
        LayerDecayCosineLR(plain, decay=0.65, end=10)


@pytest.mark.parametrize('settings, message', [
    (dict(decay_anneal='step'), r"'step' is unknown \| decay_anneal \| choose from"),
    (dict(warmup=11), r'11 is not in \[0, 10\].* \| warmup'),
    (dict(decay=0.), r'0.0 is not in \(0, 1\] \| decay'),
    (dict(decay=1.5), r'1.5 is not in \(0, 1\] \| decay'),
    (dict(decay_end=1.1), r'1.1 is not in \(0, 1\] \| decay_end'),
])
def test_bad_settings(settings, message):
    with pytest.raises(ConfigError, match=message):
        LayerDecayCosineLR(optimizer(), **{'decay': 0.65, 'end': 10, **settings})
