"""A model that is shared out over processes trains as one that is not."""
import json
from pathlib import Path

import pytest
import torch
from forks import run_together
from torch import nn

from nepa_mm.engine import FullyShardedDataParallel
from nepa_mm.engine.parallel import fully_sharded
from nepa_mm.errors import ConfigError
from tiny import TINY

pytestmark = pytest.mark.skipif(torch.__version__ < (2, 6), reason='FSDP2 needs torch 2.6')

COMMON = '''
import json, sys
from datetime import timedelta
from functools import partial
import torch, torch.distributed as dist
from mmengine.optim import OptimWrapper
from torch._dynamo.testing import CompileCounterWithBackend
from torch.distributed.tensor import DTensor
from nepa_mm.engine import Bf16OptimWrapper, ForeachEMA, FullyShardedDataParallel
from nepa_mm.engine.hooks.divergence_hook import StopOnDivergenceHook
from nepa_mm.engine.parallel.pieces import gradient_norms, resume_in_pieces, whole
from nepa_mm.models import NEPA, NEPAViT

def weights(model):
    return torch.cat([p.flatten() for p in whole(model.state_dict()).values()])

def train(wrap, compile=False, steps=3, with_cp=False, optim=OptimWrapper, **settings):
    """Weights and average after clipped steps of three batches each, of all images or of this process's."""
    torch.manual_seed(0)
    backbone = NEPAViT(**TINY, rope=dict(rescale=None), layer_scale_init_value=1., compile=compile, with_cp=with_cp,
                       frozen_stages=1)
    model = NEPA(backbone, data_preprocessor=dict(mean=[127.5] * 3, std=[127.5] * 3)).train()
    wrapped = FullyShardedDataParallel(model, **settings)
    if wrap:
        wrapped.shard(timedelta(seconds=77))
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-3, eps=1e-5)
    optim_wrapper = optim(optimizer, accumulative_counts=3, clip_grad=dict(max_norm=0.1))
    optim_wrapper.clip_func = clip
    average = ForeachEMA(model, momentum=0.3)
    count = dist.get_world_size()
    for i in range(3 * steps):
        images = [torch.randint(0, 256, (2, 3, 28, 28), generator=torch.Generator().manual_seed(count * i + r), dtype=torch.uint8)
                  for r in ([dist.get_rank()] if wrap else range(count))]
        (wrapped if wrap else model).train_step(dict(inputs=torch.cat(images), data_samples=[]), optim_wrapper)
        if i % 3 == 2:
            average.update_parameters(model)
    return wrapped, optimizer, average

def clip(parameters, max_norm):
    hook.check = lambda parameters, each, norm: norms.append(norm.item())
    return hook.check_and_clip(parameters, max_norm)

def off(run, other, part=lambda run: weights(run[0].module)):
    return (part(run) - part(other)).abs().max().item()

torch.set_num_threads(1)
dist.init_process_group('gloo')
backend = CompileCounterWithBackend('aot_eager')
torch.compile = partial(torch.compile, backend=backend)
hook, norms, result = StopOnDivergenceHook(), [], {}
averages = lambda run: weights(run[2].module)
one = train(False)
norms_of_one, norms = norms, []
'''
TWO = '''
full = train(True)
result.update(
    full=off(full, one), average=off(full, one, averages), moved=(weights(full[0].module) - averages(full)).abs().max().item(),
    norms=max(abs(a - b) for a, b in zip(norms, norms_of_one)), clipped=min(norms_of_one) > 0.1, steps=len(norms),
    grad_only=off(train(True, reshard_after_forward=False), one), replicas=off(train(True, replicas=2), one),
    recomputed=off(train(True, with_cp=True), one), compiled=off(train(True, compile=True), one), graphs=backend.frame_count,
    bfloat16=off(train(True, optim=Bf16OptimWrapper, param_dtype='bfloat16'), one))

wrapped, optimizer, average = full
parameters = dict(wrapped.module.named_parameters())
result['pieces'] = all(isinstance(p, DTensor) for p in parameters.values())
result['share'] = sum(p.to_local().numel() for p in parameters.values()) / sum(p.numel() for p in parameters.values())
result['average_in_pieces'] = all(isinstance(p, DTensor) for p in average.module.parameters())
sharded, training = wrapped.module, weights(wrapped.module)
wrapped.gather()
copied = wrapped.module
result['kinds'] = [type(copied).__name__, type(copied.backbone.layers[0]).__name__]
image = torch.randn(2, 3, 28, 28)
same = (copied.extract_feat(image)[0] - one[0].module.extract_feat(image)[0]).abs().max().item()
result.update(features=same, whole=not any(isinstance(p, DTensor) for p in copied.parameters()))
wrapped.release()
result['released'] = wrapped.module is sharded and torch.equal(weights(sharded), training)

# A whole state loads into pieces, and pieces make a whole state
again = train(True, steps=1)
resume_in_pieces(OptimWrapper(again[1]))
parts, others = ((run[0].module, run[1], run[2]) for run in (again, one))
for part, other in zip(parts, others):
    part.load_state_dict(other.state_dict())

def tensors(state):
    return [each for value in (state.values() if isinstance(state, dict) else state if isinstance(state, list) else ())
            for each in tensors(value)] if not isinstance(state, torch.Tensor) else [state]

result['loaded'] = [all(map(torch.equal, tensors(whole(part.state_dict())), tensors(other.state_dict())))
                    for part, other in zip(parts, others)]
result['in_pieces'] = sum(isinstance(each, DTensor) for each in tensors(again[1].state_dict()))
result['nothing'] = whole(sharded.state_dict(), keep=False)['backbone.norm.weight']

# Norms of gradients, some of which have no piece in a process
for parameter in parameters.values():
    parameter.grad = torch.randn_like(parameter) if parameter.requires_grad else None
trained = [parameter for parameter in parameters.values() if parameter.grad is not None]
for norm_type in (2., 3., float('inf')):
    gradients = [parameter.grad.full_tensor() for parameter in trained]
    expected = torch.stack([torch.linalg.vector_norm(each, norm_type) for each in gradients])
    result[f'norm {norm_type}'] = (torch.stack(gradient_norms(trained, norm_type)) / expected - 1).abs().max().item()
'''
END = '''
if dist.get_rank() == 0:
    json.dump(result, open(sys.argv[1], 'w'))
dist.destroy_process_group()
'''

# Two groups of two processes
GROUPS = '''
both = train(True, steps=20, replicas=2)
norms_of_both, norms = norms, []
one = train(False, steps=20)
parameters = list(both[0].module.parameters())
mesh, pieces = parameters[0].device_mesh, [parameter.to_local().numel() for parameter in parameters]
result = dict(weights=off(both, one), average=off(both, one, averages),
              moved=(weights(one[0].module) - averages(one)).abs().max().item(),
              norms=max(abs(a - b) for a, b in zip(norms_of_both, norms)),
              clipped=min(norms) > 0.1, mesh=list(mesh.shape), share=sum(pieces) / sum(map(torch.numel, parameters)),
              timeouts=[group._get_backend(torch.device('cpu')).options._timeout.total_seconds()
                        for group in mesh.get_all_groups()])
'''

SEGMENTOR = '''
import copy, json, sys
import torch, torch.distributed as dist
from mmengine.config import Config
from mmengine.model import revert_sync_batchnorm
from mmengine.registry import MODEL_WRAPPERS, MODELS
from nepa_mm.analysis.cost.made_up_batch import made_up_batch
from nepa_mm.analysis.cost.training_step import without_checkpoints
from nepa_mm.engine.parallel.pieces import whole

torch.set_num_threads(1)
dist.init_process_group('gloo')
cfg = without_checkpoints(Config.fromfile('configs/segmentation/nepa_vit-large-p14_upernet_8xb2-amp-160k_ade20k-512x512-fsdp.py'))
cfg.model.backbone.update(arch=dict(embed_dims=32, num_layers=4, num_heads=2, feedforward_channels=32), out_indices=[0, 1, 2, 3])
cfg.model.neck.embed_dim = cfg.model.auxiliary_head.in_channels = 32
cfg.model.decode_head.update(in_channels=[32] * 4, channels=16)
torch.manual_seed(0)
model = revert_sync_batchnorm(MODELS.build(cfg.model)).train()
batch = made_up_batch(cfg, 2)
batch['inputs'] = [image.roll(dist.get_rank() + 1, 0) for image in batch['inputs']]

def gradients(model, forward):
    torch.manual_seed(1)  # dropout and stochastic depth
    loss, _ = model.parse_losses(forward(model.data_preprocessor(copy.deepcopy(batch), True)))
    loss.backward()
    return {name: whole(p.grad) for name, p in model.named_parameters() if p.grad is not None}

wrapped = MODEL_WRAPPERS.build(dict(cfg.model_wrapper_cfg, module=copy.deepcopy(model)))
wrapped.shard()
ours = gradients(wrapped.module, lambda data: wrapped._run_forward(data, 'loss'))
plain = gradients(model, lambda data: model(**data, mode='loss'))
off, largest = 0., 0.
for name, gradient in plain.items():
    dist.all_reduce(gradient)
    largest = max(largest, gradient.abs().max().item())
    off = max(off, ((ours[name] - gradient / 2).abs().max() / (gradient.abs().max() / 2 + 1e-6)).item())
result = dict(off=off, largest=largest, parts=sorted({name.split('.')[0] for name in ours}), same=ours.keys() == plain.keys())
if dist.get_rank() == 0:
    json.dump(result, open(sys.argv[1], 'w'))
dist.destroy_process_group()
'''


def run_two(script: str, folder: Path, processes: int = 2) -> dict:
    """What the first of two or more processes of a script writes."""
    (folder / 'script.py').write_text(script)
    run_together(processes, folder / 'script.py', folder / 'result.json')
    return json.loads((folder / 'result.json').read_text())


@pytest.mark.slow
def test_a_segmentor_has_the_gradients_of_all_processes(tmp_path):
    result = run_two(SEGMENTOR, tmp_path)
    assert result['same'] and result['parts'] == ['auxiliary_head', 'backbone', 'decode_head', 'neck']
    assert result['off'] < 1e-4 and result['largest'] > 1e-3


def test_two_processes_with_half_of_the_parameters_each_learn_what_one_does(tmp_path):
    result = run_two(f'TINY = {TINY}\n{COMMON}{TWO}{END}', tmp_path)
    assert result['clipped'] and result['steps'] == 3
    for way in ('full', 'average', 'norms', 'grad_only', 'replicas', 'recomputed', 'compiled'):
        assert result[way] < 1e-6, way
    assert result['moved'] > 1e-4 and 0 < result['bfloat16'] < 1e-3
    assert result['graphs'] == 2  # frozen blocks, and others
    assert result['pieces'] and result['average_in_pieces'] and 0.5 <= result['share'] < 0.55
    assert result['kinds'] == ['NEPA', 'Block'] and result['whole'] and result['features'] < 1e-5 and result['released']
    assert result['loaded'] == [True] * 3 and result['in_pieces'] > 40 and result['nothing'] is None
    assert max(result[f'norm {kind}'] for kind in ('2.0', '3.0', 'inf')) < 1e-6


@pytest.mark.slow
def test_two_groups_of_two_processes_learn_what_one_does(tmp_path):
    result = run_two(f'TINY = {TINY}\n{COMMON}{GROUPS}{END}', tmp_path, 4)
    assert result['mesh'] == [2, 2] and result['timeouts'] == [77, 77] and 0.5 <= result['share'] < 0.55
    assert result['clipped'] and result['moved'] > 1e-4
    for part in ('weights', 'average', 'norms'):
        assert result[part] < 1e-6, part


def test_what_cannot_be_shared_out(one_process, monkeypatch):
    with pytest.raises(ConfigError, match=r"\['Blok'\] names no module of the model \| model_wrapper_cfg.blocks"):
        FullyShardedDataParallel(nn.Linear(1, 1), blocks=['Blok']).shard()
    with pytest.raises(ConfigError, match=r'2 groups cannot be made of 1 processes \| model_wrapper_cfg.replicas'):
        FullyShardedDataParallel(nn.Linear(1, 1), blocks=['Linear'], replicas=2).shard()
    whole = FullyShardedDataParallel(nn.Linear(1, 1))
    with pytest.raises(ConfigError, match=r"needs a runner that shares the model out \| runner_type"):
        whole._run_forward(dict(), 'loss')
    monkeypatch.setattr(fully_sharded, 'fully_shard', None)
    with pytest.raises(ConfigError, match=r'FSDP2 needs torch 2.6 or later'):
        whole.shard()
