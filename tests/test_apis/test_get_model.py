import numpy as np
import pytest
import torch
from mmpretrain.models import ImageClassifier

from nepa_mm import NEPA, get_model
from nepa_mm.checkpoints import released_state_dict
from nepa_mm.errors import CheckpointError
from tiny import GOLDEN, needs_golden

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


def test_address_of_another_kind():
    with pytest.raises(CheckpointError, match="'model.onnx' is not supported; choose 'hf:FOLDER'"):
        get_model('model.onnx')
