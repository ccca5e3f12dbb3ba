import json

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.dataset import Compose
from mmengine.registry import MODELS, DefaultScope
from PIL import Image
from torchvision import transforms

from nepa_mm import NEPAViT
from nepa_mm.checkpoints import backbone_kwargs
from nepa_mm.checkpoints.model_config import centre_pipeline, inferred_backbone, model_config
from nepa_mm.checkpoints.release.released_config import classes_of, released_config
from nepa_mm.errors import CheckpointError
from nepa_mm.variants import complete_arguments
from tiny import GOLDEN, ROOT, TINY, needs_golden

CONFIG = dict(
    model_type='vit_nepa', hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=24, image_size=28,
    patch_size=7, is_causal=True, rope_theta=100., pos_embed_rescale=2., qk_norm=True, qk_norm_affine=False, qk_norm_bias=False,
    qkv_bias=True, layerscale_value=1e-5, hidden_act='gelu', use_gated_mlp=False, layer_norm_eps=1e-12)
VARIANTS = [
    dict(), dict(use_gated_mlp=True, hidden_act='silu'), dict(qk_norm_affine=True, is_causal=False), dict(qk_norm=False),
    dict(layerscale_value=None, qkv_bias=False), dict(qk_norm_affine=True, qk_norm_bias=True), dict(pos_embed_rescale=None),
    dict(hidden_act='gelu_pytorch_tanh', rope_theta=10., layer_norm_eps=1e-6, num_channels=1, drop_path_prob=0.1)]


# Every field of the authors' config.json files for pretraining and fine-tuning, base and large, but for the names of the classes,
# the version of transformers, finetuning_task and num_prompt_token, which is 0 in all
OF_ALL = dict(
    model_type='vit_nepa', dtype='float32', image_size=224, patch_size=14, num_channels=3, hidden_act='gelu', use_gated_mlp=False,
    qkv_bias=True, qk_norm=True, qk_norm_bias=False, layerscale_value=1e-5, layer_norm_eps=1e-12, initializer_range=0.02,
    rope_theta=100., pos_embed_rescale=2., pos_embed_jitter=None, pos_embed_shift=None, add_pooling_layer=True,
    hidden_dropout_prob=0., attention_probs_dropout_prob=0.)
OF_BASE = dict(OF_ALL, hidden_size=768, num_hidden_layers=12, num_attention_heads=12, intermediate_size=3072)
OF_LARGE = dict(OF_ALL, hidden_size=1024, num_hidden_layers=24, num_attention_heads=16, intermediate_size=4096)
PRETRAINED = dict(architectures=['ViTNepaForPreTraining'], is_causal=True, drop_path_prob=0.)
FINE_TUNED = dict(architectures=['ViTNepaForImageClassification'], is_causal=False, qk_norm_affine=True)


@pytest.mark.parametrize('name, fields', [
    ('pretrain/nepa_vit-base-p14_8xb512-amp-coslr-1600e_in1k', dict(OF_BASE, **PRETRAINED, qk_norm_affine=False)),
    ('pretrain/nepa_vit-large-p14_8xb256-amp-coslr-800e_in1k', dict(OF_LARGE, **PRETRAINED, qk_norm_affine=True)),
    ('pretrain/nepa_vit-large-p14_8xb256-amp-coslr-1600e_in1k', dict(OF_LARGE, **PRETRAINED, qk_norm_affine=True)),
    ('classification/nepa_vit-base-p14_8xb128-coslr-100e_in1k', dict(OF_BASE, **FINE_TUNED, drop_path_prob=0.1)),
    ('classification/nepa_vit-large-p14_8xb128-coslr-50e_in1k', dict(OF_LARGE, **FINE_TUNED, drop_path_prob=0.2)),
    ('classification/nepa_vit-large-p14_8xb128-coslr-100e_in1k', dict(OF_LARGE, **FINE_TUNED, drop_path_prob=0.2)),
])
def test_every_field_of_the_released_configs_is_ours(name, fields):
    model = Config.fromfile(ROOT / f'configs/{name}.py').model
    ours = released_config(model, model.head.num_classes if 'classification' in name else None)
    assert len(ours.pop('id2label', '')) == len(ours.pop('label2id', '')) == (1000 if 'classification' in name else 0)
    assert ours == fields
    assert backbone_kwargs(fields)['qk_norm'] == model.backbone.get('qk_norm', 'plain')  # so that the released weights fit


@pytest.mark.parametrize('arch, resize', [('base', 256), ('large', (235, 235))])
def test_the_test_pipeline_of_released_weights_is_the_release_s(arch, resize, tmp_path):
    pipeline = centre_pipeline(complete_arguments(dict(arch=arch)))
    assert pipeline == centre_pipeline(dict(arch=arch)) == model_config(complete_arguments(dict(arch=arch)))[
        'test_dataloader']['dataset']['pipeline']
    release = transforms.Compose([transforms.Resize(resize, transforms.InterpolationMode.BICUBIC), transforms.CenterCrop(224)])
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        pipeline = Compose(pipeline)
    for width, height in ((320, 260), (241, 500)):
        image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8))
        image.save(tmp_path / 'image.png')
        pixels = pipeline(dict(img_path=str(tmp_path / 'image.png')))['inputs']  # BGR
        assert torch.equal(pixels.flip(0), transforms.functional.pil_to_tensor(release(image)))


def test_backbone_kwargs_follow_the_config():
    kwargs = backbone_kwargs({**CONFIG, 'hidden_act': 'silu', 'use_gated_mlp': True, 'qk_norm_affine': True, 'is_causal': False})
    assert (kwargs['act'], kwargs['gated_mlp'], kwargs['qk_norm'], kwargs['causal']) == ('silu', True, 'affine', False)
    assert kwargs['rope'] == dict(theta=100., rescale=2., jitter=None, shift=None)
    assert backbone_kwargs({**CONFIG, 'qk_norm': False})['qk_norm'] is None


def test_what_the_config_leaves_out_is_the_default_of_the_authors_class():
    kwargs = backbone_kwargs(dict(model_type='vit_nepa'))
    assert kwargs['arch'] == dict(embed_dims=768, num_layers=12, num_heads=12, feedforward_channels=3072)
    assert (kwargs['patch_size'], kwargs['qk_norm'], kwargs['causal'], kwargs['rope']['rescale']) == (16, None, True, 2.)


@pytest.mark.parametrize('changes', VARIANTS)
@pytest.mark.parametrize('num_classes', [None, 3])
def test_there_and_back_again(changes, num_classes):
    config = {**CONFIG, **changes}
    backbone = backbone_kwargs(config)
    if num_classes:
        backbone['out_type'] = 'last_token'
    back = released_config(model_config(backbone, num_classes)['model'], num_classes)
    assert {key: back[key] for key in config} == config
    assert back['architectures'] == ['ViTNepaForImageClassification' if num_classes else 'ViTNepaForPreTraining']
    assert len(back.get('id2label', [])) == (num_classes or 0)


@needs_golden
@pytest.mark.parametrize('case', ['pretrain_gelu', 'pretrain_plain', 'classify_pooled', 'classify_last_token'])
def test_the_authors_configs_come_back(case):
    config = json.loads((GOLDEN / case / 'config.json').read_text())
    num_classes = 7 if case.startswith('classify') else None
    backbone = backbone_kwargs(config)
    backbone['out_type'] = 'avg_featmap' if config['add_pooling_layer'] else 'last_token' if num_classes else 'raw'
    back = released_config(model_config(backbone, num_classes)['model'], num_classes, source=config)
    assert {key: back[key] for key in config} == config


def test_unsupported_settings_are_refused():
    with pytest.raises(CheckpointError, match=r'0.1 is not supported.* \| .*hidden_dropout_prob'):
        backbone_kwargs({**CONFIG, 'hidden_dropout_prob': 0.1})
    for backbone, message in [
            (dict(with_cls_token=False), r'False has no place in the released format.* \| model.backbone.with_cls_token'),
            (dict(use_abs_pos_embed=True), r'True has no place.* \| .*use_abs_pos_embed'),
            (dict(out_type='last_token', out_indices=1), r'1 has no place .* take the last block \| model.backbone.out_indices'),
            (dict(out_type='last_token', out_indices=[-3, 1]), r'\[-3, 1\] has no place .* \| model.backbone.out_indices'),
            (dict(rope=None, out_type='last_token'), r'None has no place.* \| model.backbone.rope'),
            (dict(out_type='cls_token'), r"'cls_token' has no place .* knows \['avg_featmap', 'last_token'\].* \| .*out_type")]:
        with pytest.raises(CheckpointError, match=message):
            released_config(dict(backbone=dict(type='nepa_mm.NEPAViT', **TINY, **backbone)), 3)
    assert released_config(dict(backbone=dict(**TINY, out_type='last_token', out_indices=[0, 2])), 3)['num_hidden_layers'] == 3


def test_classes():
    assert classes_of(dict(id2label={'0': 'cat', '1': 'dog'}), 2) == ['cat', 'dog']
    for names in (None, {'0': 'LABEL_0', '1': 'LABEL_1'}, {'0': 'cat'}, ['a', 'b'], {'0': 1, '1': 2}):
        assert classes_of(dict(id2label=names), 2) is None
    assert classes_of({}, 2) is None
    names = released_config(dict(backbone=dict(**TINY, out_type='last_token')), 2, ['crane', 'crane'])  # as ImageNet has twice
    assert names['id2label'] == {'0': 'crane', '1': 'crane'}


@pytest.mark.parametrize('kwargs', [
    dict(), dict(gated_mlp=True, act='silu'), dict(qk_norm='affine', out_type='avg_featmap', causal=False),
    dict(qk_norm='affine_bias'), dict(layer_scale_init_value=None, qkv_bias=False),
    dict(with_cls_token=False, use_abs_pos_embed=True), dict(in_channels=1)])
def test_the_backbone_is_inferred_from_shapes(kwargs, monkeypatch):
    expected = dict(arch=dict(TINY['arch'], num_heads=2 if 'qk_norm' in kwargs else 1), img_size=112, patch_size=7, **kwargs)
    if 'use_abs_pos_embed' in kwargs:
        expected['img_size'] = 28
    weights = {f'backbone.{name}': value for name, value in NEPAViT(**TINY, **kwargs).state_dict().items()}
    said = []
    monkeypatch.setattr('nepa_mm.checkpoints.model_config.print_log', lambda message, *_: said.append(message))
    backbone = inferred_backbone(weights, 'a.pth carries no config')
    assert {key: backbone[key] for key in expected if key != 'out_type'} == {k: v for k, v in expected.items() if k != 'out_type'}
    assert said[0].startswith('a.pth carries no config: sizes are taken from the shapes of the weights') and 'rope=' in said[0]
    assert ('num_heads=1' in said[0]) == ('qk_norm' not in kwargs)
    MODELS.build(model_config(backbone)['model']['backbone']).load_state_dict(
        {name.removeprefix('backbone.'): value for name, value in weights.items() if 'fc_norm' not in name}, strict=True)
