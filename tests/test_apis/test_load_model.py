import json
import os
import warnings

import mmpretrain
import numpy as np
import pytest
import torch
from mmengine.registry import MODELS, DefaultScope
from mmpretrain.models import ClsDataPreprocessor, ImageClassifier, LinearClsHead
from mmseg.models import EncoderDecoder
from PIL import Image
from safetensors.torch import save_file

from nepa_mm import NEPA, NEPAViT, get_model
from nepa_mm.apis.images import steps_of
from nepa_mm.apis.load_model import load_model
from nepa_mm.checkpoints import released_state_dict
from nepa_mm.checkpoints.record import config_from_text, config_text
from nepa_mm.errors import CheckpointError
from tiny import GOLDEN, GOLDEN_PRETRAINING, TINY, assert_golden_gradients, golden_tensors, needs_golden, randomize

CLASSIFY = ['classify_pooled', 'classify_last_token']


@needs_golden
@pytest.mark.parametrize('case', GOLDEN_PRETRAINING)
def test_parity_of_pretraining_with_the_release(case):
    tensors, model = golden_tensors(case), get_model(f'hf:{GOLDEN / case}')
    assert isinstance(model, NEPA) and not model.training
    x = tensors['pixel_values']
    torch.testing.assert_close(model.backbone.embed(x), tensors['input_embedding'], atol=1e-5, rtol=0)
    torch.testing.assert_close(model.backbone(x)[0], tensors['last_hidden_state'], atol=1e-5, rtol=0)
    sines, cosines = model.backbone.rope((5, 5), (5, 5), x.device).chunk(2, dim=-1)
    torch.testing.assert_close(sines, tensors['rope_sin'], atol=1e-5, rtol=0)
    torch.testing.assert_close(cosines, tensors['rope_cos'], atol=1e-5, rtol=0)

    loss = model(x, mode='loss')['loss']
    assert abs(loss.item() - tensors['loss'].item()) < 1e-5
    loss.backward()
    assert_golden_gradients(model, tensors)


@needs_golden
@pytest.mark.parametrize('case', CLASSIFY)
def test_parity_of_classification_with_the_release(case):
    tensors, model = golden_tensors(case), get_model(f'hf:{GOLDEN / case}')
    assert isinstance(model, ImageClassifier) and not model.training
    logits = model(tensors['pixel_values'])
    torch.testing.assert_close(logits, tensors['logits'], atol=1e-5, rtol=0)
    loss = torch.nn.functional.cross_entropy(logits, tensors['labels'])
    assert abs(loss.item() - tensors['loss'].item()) < 1e-5
    loss.backward()
    assert_golden_gradients(model, tensors)


@needs_golden
def test_overrides_replace_the_checkpoint_s_settings():
    address = f'hf:{GOLDEN}/pretrain_gelu'
    x = golden_tensors('pretrain_gelu')['pixel_values']
    assert not torch.allclose(get_model(address, causal=False).backbone(x)[0], get_model(address).backbone(x)[0])
    assert get_model(address, out_type='featmap').backbone(x)[0].shape == (2, 48, 5, 5)
    tuned = get_model(address, qk_norm='affine', out_type='avg_featmap').backbone  # added as the identity
    features = get_model(address).backbone(x)[0][:, 1:].mean(dim=1)
    expected = torch.nn.functional.layer_norm(features, (48, ), eps=1e-12)
    torch.testing.assert_close(tuned(x)[0], expected, atol=1e-5, rtol=0)
    with pytest.raises(CheckpointError, match=r'3 blocks there and 12 here.* \| .*golden/pretrain_gelu'):
        get_model(address, arch='base')
    with pytest.raises(CheckpointError, match=r'.*no such argument \| .*model.backbone.causl \| did you mean .causal.\?'):
        get_model(address, causl=False)


def test_overrides_of_parts_of_an_argument(tmp_path):
    """By dotted names, as --cfg-options gives them."""
    model, address = NEPA(NEPAViT(**TINY)), str(tmp_path / 'a.pth')
    for rope in ('', 'rope=dict(theta=100., jitter=1.5), '):
        cfg = (f"model = dict(type='nepa_mm.NEPA', backbone=dict(type='nepa_mm.NEPAViT', arch={TINY['arch']}, {rope}img_size=28, "
               'patch_size=7))\n')
        torch.save(dict(state_dict=model.state_dict(), meta=dict(cfg=cfg)), address)
        found = get_model(address, **{'rope.rescale': 3.}).backbone.rope
        assert (found.theta, found.rescale, found.jitter) == (100., 3., 1.5 if rope else None)
    with pytest.raises(CheckpointError, match=r'patch_size=7 has no parts \| .*model.backbone.patch_size.x \| set it as a whole'):
        get_model(address, **{'patch_size.x': 3})
    with pytest.raises(CheckpointError, match=r'no such argument \| .*model.backbone.nothing.x \| '):
        get_model(address, **{'nothing.x': 3})


def save_released(folder, model, **config):
    """A tiny checkpoint in the released format."""
    save_file({name: value.contiguous() for name, value in released_state_dict(model.state_dict()).items()},
              folder / 'model.safetensors')
    (folder / 'config.json').write_text(json.dumps(dict(
        model_type='vit_nepa', hidden_size=16, num_hidden_layers=3, num_attention_heads=2, intermediate_size=32, image_size=28,
        patch_size=7, rope_theta=100., qk_norm=True, qkv_bias=True, layerscale_value=1e-5, hidden_act='gelu',
        use_gated_mlp=False, layer_norm_eps=1e-12, **config)))


def test_pretraining_folder(tmp_path):
    model, x = randomize(NEPA(NEPAViT(**TINY))).eval(), torch.randn(2, 3, 28, 28)
    save_released(tmp_path, model, is_causal=True)
    loaded = get_model(f'hf:{tmp_path}')
    assert torch.equal(loaded(x, mode='loss')['loss'], model(x, mode='loss')['loss'])


def test_classification_folder(tmp_path):
    backbone = NEPAViT(**TINY, causal=False, qk_norm='affine', out_type='avg_featmap')
    head = LinearClsHead(5, 16, loss=dict(type='mmpretrain.CrossEntropyLoss'))
    model = randomize(ImageClassifier(backbone, head=head, data_preprocessor=ClsDataPreprocessor())).eval()
    save_released(tmp_path, model, is_causal=False, qk_norm_affine=True, add_pooling_layer=True)
    x = torch.randn(2, 3, 28, 28)
    logits = get_model(f'hf:{tmp_path}')(x)
    assert logits.shape == (2, 5) and torch.equal(logits, model(x))


def test_what_is_no_checkpoint(tmp_path):
    torch.save(dict(state_dict={'blocks.0.norm1.weight': torch.ones(1)}), tmp_path / 'mae.pth')
    segmentor = {**NEPA(NEPAViT(**TINY)).state_dict(), 'decode_head.a': torch.ones(1)}
    torch.save(dict(state_dict=segmentor), tmp_path / 's.pth')
    for name, message in [('model.onnx', r'^there is no such checkpoint \| .*model.onnx \|'),
                          ('mae.pth', r"^it holds no NEPA model; first keys: \['blocks.0.norm1.weight'\] \| "
                                      r".*mae.pth, its weights"),
                          ('s.pth', r'^a segmentor without a config \| .*s.pth, its meta \| build it from its config file')]:
        with pytest.raises(CheckpointError, match=message):
            get_model(str(tmp_path / name))


SEGMENTOR = """
default_scope = 'mmseg'
norm_cfg = dict(type='SyncBN', requires_grad=True)
collate = something.that_is.no_data
model = dict(
    type='EncoderDecoder',
    data_preprocessor=dict(type='SegDataPreProcessor', mean=[127.5, 127.5, 127.5], std=[127.5, 127.5, 127.5], bgr_to_rgb=True),
    backbone=dict(
        type='nepa_mm.NEPAViT', arch={arch}, img_size=28, patch_size=7, causal=False, out_type='featmap', out_indices=[0, 2],
        init_cfg=dict(type='Pretrained', checkpoint='nowhere.pth', prefix='backbone.')),
    decode_head=dict(
        type='FCNHead', in_channels=16, in_index=1, channels=8, num_convs=1, concat_input=False, num_classes=4,
        norm_cfg=dict(type='SyncBN', requires_grad=True), loss_decode=dict(type='CrossEntropyLoss', loss_weight=1.0)),
    train_cfg=dict(),
    test_cfg=dict(mode='whole'))
"""


def test_a_segmentor_of_a_training(tmp_path):
    text = SEGMENTOR.format(arch=TINY['arch'])
    with DefaultScope.overwrite_default_scope('mmseg'):
        model = randomize(MODELS.build(dict(config_from_text(text)['model']))).eval()
    state_dict = model.state_dict()
    average = {'steps': torch.tensor(3), **{f'module.{name}': torch.zeros_like(value) for name, value in state_dict.items()}}
    meta = dict(cfg=text, dataset_meta=dict(classes=('a', 'b', 'c', 'd'), palette=[[0, 0, 0]] * 4))
    torch.save(dict(meta=meta, state_dict=state_dict, ema_state_dict=average, message_hub={}), tmp_path / 'iter_3.pth')
    with warnings.catch_warnings():
        warnings.filterwarnings('error', '.*avg_non_ignore')  # a hint for trainings
        loaded = get_model(str(tmp_path / 'iter_3.pth'))
        (tmp_path / 'model.py').write_text(config_text(config_from_text(text)))
        load_model(str(tmp_path / 'model.py'), str(tmp_path / 'iter_3.pth'))
    assert isinstance(loaded, EncoderDecoder) and not loaded.training and loaded.dataset_meta['classes'] == ('a', 'b', 'c', 'd')
    x = torch.randn(1, 3, 28, 28)
    assert torch.equal(loaded(x), model(x)) and loaded(x).shape[:2] == (1, 4)
    assert get_model(f'raw:{tmp_path}/iter_3.pth').backbone.norm.weight.eq(0).all()

    # What does not belong to the model of the config, or lacks.
    for change, message in [({'extra.a': torch.ones(1)}, r"lacks \['extra \(1\)'\]"),
                            ({'decode_head.conv_seg.bias': torch.ones(5)}, r'decode_head.conv_seg.bias at random for 4 classes')]:
        torch.save(dict(meta=meta, state_dict={**state_dict, **change}), tmp_path / 'changed.pth')
        with pytest.raises(CheckpointError, match=message):
            get_model(str(tmp_path / 'changed.pth'))


def test_a_pipeline_of_what_is_not_registered_is_left_out(tmp_path, monkeypatch):
    """The inferencers of the hosts would build it, and mmengine import and call what it names."""
    monkeypatch.chdir(tmp_path)
    text = ("model = dict(type='nepa_mm.NEPA', backbone=dict(type='nepa_mm.NEPAViT', arch={}, img_size=28, patch_size=7))\n"
            "visualizer = dict(type='os.system', command='touch ran')\n"
            "test_dataloader = dict(dataset=dict(pipeline=[dict(type='{}', command='touch ran')]))\n")
    weights = NEPA(NEPAViT(**TINY)).state_dict()
    for kind, kept in (('os.system', False), ('PackInputs', True)):
        torch.save(dict(state_dict=weights, meta=dict(cfg=text.format(TINY['arch'], kind))), 'a.pth')
        config = get_model('a.pth')._config
        assert ('test_dataloader' in config) == kept and 'visualizer' not in config
    assert os.listdir() == ['a.pth']


def test_images_come_in_one_view_though_the_test_averages_over_several(tmp_path):
    text = (f"model = dict(type='nepa_mm.NEPA', backbone=dict(type='nepa_mm.NEPAViT', arch={TINY['arch']}, img_size=28, "
            "patch_size=7))\ntest_pipeline = [dict(type='LoadImageFromFile'), dict(type='PackInputs')]\n"
            "test_dataloader = dict(dataset=dict(pipeline=[dict(type='LoadImageFromFile'), dict(type='TestTimeAug', transforms=["
            "[dict(type='RandomFlip', prob=0.), dict(type='RandomFlip', prob=1.)], [dict(type='PackInputs')]])]))\n")
    (tmp_path / 'a.py').write_text(text)
    torch.save(dict(state_dict=NEPA(NEPAViT(**TINY)).state_dict(), meta=dict(cfg=text)), tmp_path / 'a.pth')
    for model in (get_model(str(tmp_path / 'a.pth')), load_model(str(tmp_path / 'a.py'), str(tmp_path / 'a.pth'))):
        assert [step['type'].rpartition('.')[2] for step in steps_of(model)] == ['LoadImageFromFile', 'PackInputs']


def test_weights_that_lack_are_refused_unless_overrides_ask_for_them(tmp_path):
    backbone = randomize(NEPAViT(**TINY, causal=False, qk_norm='affine', out_type='avg_featmap'))
    head = LinearClsHead(3, 16, loss=dict(type='mmpretrain.CrossEntropyLoss'))
    model = ImageClassifier(backbone, head=head, data_preprocessor=ClsDataPreprocessor())
    weights = {name: value for name, value in model.state_dict().items() if 'fc_norm' not in name}
    released = {name: value.contiguous() for name, value in released_state_dict(weights).items()}
    save_released(tmp_path, model, is_causal=False, qk_norm_affine=True, add_pooling_layer=True)
    save_file(released, tmp_path / 'model.safetensors')
    with pytest.raises(CheckpointError, match='inference needs every weight, and these would be created: 2 of fc_norm'):
        get_model(f'hf:{tmp_path}')


@pytest.fixture
def image(tmp_path):
    pixels = np.random.RandomState(0).randint(0, 255, (40, 60, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / 'image.png')
    return str(tmp_path / 'image.png')


def test_hosts_inferencers_give_a_class_name_and_a_feature_vector(tmp_path, image):
    backbone = NEPAViT(**TINY, causal=False, qk_norm='affine', out_type='avg_featmap')
    head = LinearClsHead(3, 16, loss=dict(type='mmpretrain.CrossEntropyLoss'))
    model = randomize(ImageClassifier(backbone, head=head, data_preprocessor=ClsDataPreprocessor())).eval()
    save_released(tmp_path, model, is_causal=False, qk_norm_affine=True, add_pooling_layer=True,
                  id2label={'0': 'cat', '1': 'dog', '2': 'eel'})
    loaded = get_model(f'hf:{tmp_path}')
    result = mmpretrain.ImageClassificationInferencer(loaded)(image)[0]
    # Short side to 28 / 0.875, bicubic, the centre, RGB, [-1, 1]
    pixels = Image.open(image).resize((48, 32), Image.BICUBIC).crop((10, 2, 38, 30))
    x = torch.from_numpy(np.asarray(pixels, dtype=np.float32)).permute(2, 0, 1)[None] / 127.5 - 1
    expected = model(x).softmax(dim=1)[0]
    np.testing.assert_allclose(result['pred_scores'], expected.detach().numpy(), atol=1e-5)
    assert result['pred_class'] == ['cat', 'dog', 'eel'][int(expected.argmax())]
    feature = mmpretrain.FeatureExtractor(loaded)(image)[0][0]
    torch.testing.assert_close(feature, backbone(x)[0][0].detach(), atol=1e-5, rtol=0)

    (tmp_path / 'pretrained').mkdir()
    pretrained = randomize(NEPA(NEPAViT(**TINY))).eval()
    save_released(tmp_path / 'pretrained', pretrained, is_causal=True)
    feature = mmpretrain.FeatureExtractor(get_model(f'hf:{tmp_path}/pretrained', out_type='featmap'))(image)[0][0]
    tokens = pretrained.backbone(x)[0][0, 1:].detach()
    torch.testing.assert_close(feature.mean(dim=(1, 2)), tokens.mean(dim=0), atol=1e-5, rtol=0)
