import pytest
import torch
from mmengine.optim import OptimWrapper

from nepa_mm import NEPA, NEPAViT
from nepa_mm.engine import Bf16OptimWrapper
from tiny import TINY


def test_matrix_products_run_in_bfloat16_and_parameters_stay_in_float32():
    model = NEPA(NEPAViT(**TINY))
    wrapper = Bf16OptimWrapper(torch.optim.AdamW(model.parameters(), lr=1e-2))
    dtypes = []
    model.backbone.layers[0].mlp.fc1.register_forward_hook(lambda module, args, out: dtypes.append(out.dtype))
    before = model.backbone.layers[0].mlp.fc1.weight.clone()
    with wrapper.optim_context(model):
        loss = model.loss(torch.randn(2, 3, 28, 28))['loss']
    wrapper.update_params(loss)
    assert dtypes == [torch.bfloat16] and loss.dtype == torch.float32
    assert {p.dtype for p in model.parameters()} == {torch.float32}
    assert not torch.equal(model.backbone.layers[0].mlp.fc1.weight, before)
    model.loss(torch.randn(2, 3, 28, 28))
    assert dtypes[1] == torch.float32  # outside the context


@pytest.mark.parametrize('device', ['cpu', pytest.param(
    'cuda', marks=pytest.mark.skipif(not torch.cuda.is_available(), reason='no GPU'))])
def test_fused_adamw_and_late_logging_take_the_steps_of_the_plain_path(device):
    models = []
    for wrapper, fused in ((OptimWrapper, False), (Bf16OptimWrapper, True)):
        torch.manual_seed(0)
        model = NEPA(NEPAViT(**TINY, rope=dict(rescale=None), layer_scale_init_value=1.)).to(device)
        steps = wrapper(torch.optim.AdamW(model.parameters(), lr=1e-2, betas=(0.9, 0.95), weight_decay=0.05, fused=fused),
                        clip_grad=dict(max_norm=0.1))
        for seed in range(5):
            images = torch.randn(2, 3, 28, 28, generator=torch.Generator().manual_seed(seed)).to(device)
            steps.update_params(model.loss(images)['loss'])  # float32: the context is left out
        models.append(model)
    for (name, one), other in zip(models[0].named_parameters(), models[1].parameters()):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=0, msg=name)


def test_without_gradients_or_with_clipping_by_value_there_is_no_norm():
    weight = torch.nn.Parameter(torch.ones(2))
    wrapper = Bf16OptimWrapper(torch.optim.SGD([weight], lr=1.), clip_grad=dict(type='value', clip_value=0.5))
    wrapper.step()
    wrapper.update_params((3 * weight).sum())
    assert weight.tolist() == [0.5, 0.5]
