import json

import numpy as np
import pytest
import torch
from mmpretrain.models import ClsDataPreprocessor, ImageClassifier, LinearClsHead
from safetensors.torch import save_file

from nepa_mm import NEPA, NEPAViT, get_model
from nepa_mm.checkpoints import released_state_dict
from nepa_mm.errors import CheckpointError
from tiny import GOLDEN, TINY, needs_golden, randomize

PRETRAIN = ['pretrain_gelu', 'pretrain_swiglu', 'pretrain_bidirectional', 'pretrain_plain']
CLASSIFY = ['classify_pooled', 'classify_last_token']


def reference(case):
    return {name: torch.from_numpy(np.asarray(value)) for name, value in np.load(GOLDEN / case / 'tensors.npz').items()}


def assert_gradients(model, tensors):
    ours = released_state_dict({name: parameter.grad for name, parameter in model.named_parameters()})
    expected = {name.removeprefix('grad/'): value for name, value in tensors.items() if name.startswith('grad/')}
    assert len(expected) > 30
    for name, value in expected.items():
        error = (ours[name] - value).abs().max() / value.abs().max()
        assert error < 1e-4, f'{name}: relative error {error:.1e}'


@needs_golden
@pytest.mark.parametrize('case', PRETRAIN)
def test_parity_of_pretraining_with_the_release(case):
    tensors, model = reference(case), get_model(f'hf:{GOLDEN / case}')
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
    assert_gradients(model, tensors)


@needs_golden
@pytest.mark.parametrize('case', CLASSIFY)
def test_parity_of_classification_with_the_release(case):
    tensors, model = reference(case), get_model(f'hf:{GOLDEN / case}')
    assert isinstance(model, ImageClassifier) and not model.training
    logits = model(tensors['pixel_values'])
    torch.testing.assert_close(logits, tensors['logits'], atol=1e-5, rtol=0)
    loss = torch.nn.functional.cross_entropy(logits, tensors['labels'])
    assert abs(loss.item() - tensors['loss'].item()) < 1e-5
    loss.backward()
    assert_gradients(model, tensors)


@needs_golden
def test_overrides_replace_the_checkpoint_s_settings():
    address = f'hf:{GOLDEN}/pretrain_gelu'
    x = reference('pretrain_gelu')['pixel_values']
    assert not torch.allclose(get_model(address, causal=False).backbone(x)[0], get_model(address).backbone(x)[0])
    assert get_model(address, out_type='featmap').backbone(x)[0].shape == (2, 48, 5, 5)
    with pytest.raises(RuntimeError, match='Missing key.*q_norm'):  # loading is strict
        get_model(address, qk_norm='affine')


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


def test_address_of_another_kind():
    with pytest.raises(CheckpointError, match="'model.onnx' is not supported; choose 'hf:FOLDER'"):
        get_model('model.onnx')
