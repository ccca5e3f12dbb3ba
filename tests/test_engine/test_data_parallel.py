import pytest
import torch
from mmengine.registry import MODEL_WRAPPERS
from torch import nn


@pytest.fixture
def one_process(tmp_path):
    torch.distributed.init_process_group('gloo', init_method=f'file://{tmp_path}/store', rank=0, world_size=1)
    yield
    torch.distributed.destroy_process_group()


def test_sync_bn_becomes_bn_with_the_same_parameters(one_process, tmp_path):
    model = nn.Sequential(nn.Conv2d(3, 4, 1), nn.SyncBatchNorm(4))
    weight = model[1].weight
    wrapped = MODEL_WRAPPERS.build(dict(type='nepa_mm.CPUDistributedDataParallel', module=model, device_ids=[0]))
    assert wrapped.device_ids is None
    assert not any(isinstance(module, nn.SyncBatchNorm) for module in wrapped.modules())
    assert any(parameter is weight for parameter in wrapped.parameters())
    wrapped.module(torch.randn(2, 3, 4, 4)).sum().backward()
