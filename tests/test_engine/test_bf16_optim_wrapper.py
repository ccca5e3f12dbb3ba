import torch

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
