import json

import pytest
import torch
from forks import run_together
from mmengine.config import Config
from mmengine.registry import MODEL_WRAPPERS
from mmengine.runner import Runner
from torch import nn

from nepa_mm.launch.build_runner import build_runner
from tiny import TINY

# Nine batches, three a step, on each of two processes: how often gradients are reduced, and the first sum of what was learned
SCRIPT = '''
import json, sys
from functools import partial

import torch
import torch.distributed as dist
from mmengine.optim import OptimWrapper
from torch._dynamo.testing import CompileCounterWithBackend
from torch.distributed.algorithms.ddp_comm_hooks.default_hooks import allreduce_hook

from nepa_mm import NEPA, NEPAViT
from nepa_mm.engine import CPUDistributedDataParallel

def train(rank, wrap, compile):
    torch.manual_seed(0)
    backbone = NEPAViT(**TINY, rope=dict(rescale=None), layer_scale_init_value=1., compile=compile)
    model = NEPA(backbone, data_preprocessor=dict(mean=[127.5] * 3, std=[127.5] * 3))
    reduced, counts = [], []
    if wrap:
        wrapped = CPUDistributedDataParallel(model, bucket_cap_mb=0.01)
        wrapped.register_comm_hook(None, lambda state, bucket: reduced.append(1) or allreduce_hook(state, bucket))
        assert wrapped.static_graph and wrapped.gradient_as_bucket_view and not wrapped.broadcast_buffers
    optim_wrapper = OptimWrapper(torch.optim.AdamW(model.parameters(), lr=1e-3, eps=1e-5), accumulative_counts=3)
    for i in range(9):
        images = [torch.randint(0, 256, (2, 3, 28, 28), generator=torch.Generator().manual_seed(2 * i + r), dtype=torch.uint8)
                  for r in ([rank] if wrap else [0, 1])]
        (wrapped if wrap else model).train_step(dict(inputs=torch.cat(images), data_samples=[]), optim_wrapper)
        counts.append(len(reduced))
        reduced.clear()
    return counts, torch.cat([p.detach().flatten() for p in model.parameters()])

torch.set_num_threads(1)
dist._DEFAULT_FIRST_BUCKET_BYTES = 1000
dist.init_process_group('gloo')
backend = CompileCounterWithBackend('aot_eager')
torch.compile = partial(torch.compile, backend=backend)
result = {}
(result['counts'], two), (_, one) = train(dist.get_rank(), True, False), train(0, False, False)
result['compiled_counts'], compiled = train(dist.get_rank(), True, True)
result.update(graphs=backend.frame_count, moved=(two - compiled).abs().max().item(), off=(two - one).abs().max().item())
if dist.get_rank() == 0:
    json.dump(result, open(sys.argv[1], 'w'))
dist.destroy_process_group()
'''


def test_two_processes_reduce_once_a_step_and_learn_what_one_does(tmp_path):
    (tmp_path / 'script.py').write_text(f'TINY = {TINY}\n{SCRIPT}')
    run_together(2, tmp_path / 'script.py', tmp_path / 'result.json')
    result = json.loads((tmp_path / 'result.json').read_text())
    # A static graph has to see its first pass reduced; from then on only the last of three is. Buckets are made after one step.
    assert result['counts'] == [1, 0, 1, 0, 0, 4, 0, 0, 4]
    assert result['compiled_counts'] == result['counts']
    assert result['off'] < 1e-6 and result['moved'] < 1e-6
    assert result['graphs'] == 1  # buckets, smaller than a block, do not cut it


def test_sync_bn_becomes_bn_with_the_same_parameters(one_process, tmp_path):
    model = nn.Sequential(nn.Conv2d(3, 4, 1), nn.SyncBatchNorm(4))
    weight = model[1].weight
    wrapped = MODEL_WRAPPERS.build(dict(type='nepa_mm.CPUDistributedDataParallel', module=model, device_ids=[0]))
    assert wrapped.device_ids is None
    assert not any(isinstance(module, nn.SyncBatchNorm) for module in wrapped.modules())
    assert any(parameter is weight for parameter in wrapped.parameters())
    wrapped.module(torch.randn(2, 3, 4, 4)).sum().backward()


@pytest.mark.parametrize('unused', [False, True])
def test_a_config_that_has_unused_parameters_says_so_as_in_mm(one_process, unused, monkeypatch):
    monkeypatch.setattr(Runner, 'from_cfg', lambda cfg: cfg)
    settings = dict(type='nepa_mm.StaticDistributedDataParallel')
    cfg = build_runner(Config(dict(launcher='none', find_unused_parameters=unused, model_wrapper_cfg=settings)))
    cfg.model_wrapper_cfg.type = 'nepa_mm.CPUDistributedDataParallel'
    wrapped = MODEL_WRAPPERS.build(cfg.model_wrapper_cfg, default_args=dict(module=nn.Linear(2, 2)))
    assert wrapped.find_unused_parameters == unused and wrapped.static_graph != unused
