"""A model that is shared out over processes and machines trains as one that is not."""
import os
import socket
import subprocess
import sys
from importlib.util import find_spec

import numpy as np
import pytest
import torch
from forks import run
from mmengine.config import Config
from mmengine.optim import build_optim_wrapper
from PIL import Image

from nepa_mm.engine.parallel.fsdp_strategy import FSDPStrategy, without_memory
from nepa_mm.errors import ConfigError
from nepa_mm.models import NEPA, NEPAViT
from tiny import ROOT, TINY

CONFIG = '''
default_scope = 'mmpretrain'
model = dict(
    type='nepa_mm.NEPA',
    backbone=dict(
        type='nepa_mm.NEPAViT', arch=dict(embed_dims=16, num_layers=2, num_heads=2, feedforward_channels=32), img_size=32,
        patch_size=8, rope=dict(rescale=None), layer_scale_init_value=1.),
    data_preprocessor=dict(type='SelfSupDataPreprocessor', mean=[127.5] * 3, std=[127.5] * 3))
train_dataloader = dict(
    batch_size=8, num_workers=0, sampler=dict(type='DefaultSampler', shuffle=False), collate_fn=dict(type='default_collate'),
    dataset=dict(
        type='CustomDataset', data_root='{images}', data_prefix='', with_label=False,
        pipeline=[dict(type='LoadImageFromFile'), dict(type='PackInputs')]))
optim_wrapper = dict(
    optimizer=dict(type='AdamW', lr=1e-2, weight_decay=2.), clip_grad=dict(max_norm=0.1),
    constructor='nepa_mm.LayerDecayOptimWrapperConstructor', paramwise_cfg=dict(layer_decay_rate=1.0))
train_cfg = dict(type='nepa_mm.AccumulatingEpochLoop', max_epochs=3)
auto_scale_lr = dict(base_batch_size=8)
env_cfg = dict(dist_cfg=dict(backend='gloo'))
randomness = dict(seed=3)
custom_hooks = [dict(type='EMAHook', momentum=0.3)]
'''
SHARDED = '''
train_dataloader['batch_size'] = 4
runner_type = 'FlexibleRunner'
strategy = dict(type='nepa_mm.FSDPStrategy')
custom_hooks = [dict(type='nepa_mm.ShardedEMAHook', momentum=0.3)]
'''


def free_port() -> str:
    with socket.socket() as sock:
        sock.bind(('127.0.0.1', 0))
        return str(sock.getsockname()[1])


def train(config, processes: int, nodes: int, *arguments) -> None:
    """dist_train.sh on so many machines, all of them this one."""
    env = dict(os.environ, PORT=free_port(), NNODES=str(nodes), MASTER_ADDR='127.0.0.1', PYTHON=sys.executable,
               OMP_NUM_THREADS='1', PYTHONPATH='')
    command = ['bash', ROOT / 'tools/dist_train.sh', config, processes, *arguments]
    started = [subprocess.Popen([str(part) for part in command], env=dict(env, NODE_RANK=str(node)), text=True,
                                stdout=subprocess.PIPE, stderr=subprocess.STDOUT) for node in range(nodes)]
    for process in started:
        printed = process.communicate(timeout=600)[0]
        assert process.returncode == 0, printed[-3000:]


@pytest.mark.slow
def test_two_machines_and_a_resumed_pair_of_processes_train_what_one_process_does(tmp_path):
    (tmp_path / 'images/a').mkdir(parents=True)
    random = np.random.default_rng(0)
    for i in range(16):
        Image.fromarray(random.integers(0, 256, (32, 32, 3), np.uint8)).save(tmp_path / f'images/a/{i:02}.png')
    whole, sharded = tmp_path / 'whole.py', tmp_path / 'sharded.py'
    whole.write_text(CONFIG.format(images=tmp_path / 'images'))
    sharded.write_text(whole.read_text() + SHARDED)
    train(sharded, 1, 2, '--work-dir', tmp_path / 'two', '--cfg-options', 'train_cfg.max_epochs=2')
    train(sharded, 2, 1, '--work-dir', tmp_path / 'two', '--resume')
    run(tmp_path, ROOT / 'tools/train.py', whole, '--work-dir', tmp_path / 'one')
    two, one = (torch.load(tmp_path / name / 'epoch_3.pth', weights_only=False) for name in ('two', 'one'))
    for weights in ('state_dict', 'ema_state_dict'):  # six steps, clipped, with decay by the shape of whole parameters
        assert two[weights].keys() == one[weights].keys()
        for name in one[weights]:
            torch.testing.assert_close(two[weights][name], one[weights][name], atol=2e-5, rtol=0, msg=name)
    assert (one['state_dict']['backbone.norm.bias'] - one['ema_state_dict']['module.backbone.norm.bias']).abs().max() > 1e-3
    # What the sharded training saved starts and resumes one that is not.
    run(tmp_path, ROOT / 'tools/train.py', whole, '--work-dir', tmp_path / 'three', '--cfg-options', 'train_cfg.max_epochs=1',
        f'load_from={tmp_path / "two/epoch_3.pth"}')


def small_model() -> NEPA:
    return NEPA(NEPAViT(**TINY))


def test_groups_are_those_of_whole_parameters():
    with torch.device('meta'):
        model = without_memory(small_model())
    wrapper = build_optim_wrapper(model, dict(
        optimizer=dict(type='AdamW', lr=1., weight_decay=0.05), constructor='nepa_mm.LayerDecayOptimWrapperConstructor',
        paramwise_cfg=dict(layer_decay_rate=1.)))
    groups = wrapper.optimizer.param_groups
    assert {value.ndim for group in groups for value in group['params'] if group['weight_decay'] == 0.05} == {2, 3, 4}
    assert {value.ndim for group in groups for value in group['params'] if group['weight_decay'] == 0} == {1}
    weight = model.backbone.layers[0].mlp.fc1.weight
    assert weight.shape == (32, 16) and weight.untyped_storage().nbytes() == 4


def test_blocks_that_are_not_there():
    strategy = object.__new__(FSDPStrategy)
    strategy.blocks = ('Blok', )
    with pytest.raises(ConfigError, match=r"\['Blok'\] names no module of the model \| strategy.blocks"):
        strategy._wrap_model(torch.nn.Linear(1, 1))


def test_the_optimizer_of_the_config_for_deepspeed():
    import mmengine._strategy.deepspeed  # noqa: F401, registers its optimizer wrapper, without DeepSpeed as well
    cfg = Config.fromfile(ROOT / 'configs/pretrain/nepa_vit-huge-p14_8xb512-amp-coslr-1600e_in1k-deepspeed.py')
    wrapper = build_optim_wrapper(small_model(), cfg.optim_wrapper)
    assert type(wrapper).__name__ == 'DeepSpeedOptimWrapper' and wrapper.optimizer.defaults['betas'] == (0.9, 0.95)
    assert cfg.strategy.gradient_clipping == 1. and cfg.auto_scale_lr.base_batch_size == 4096


@pytest.mark.skipif(find_spec('deepspeed') is None or not torch.cuda.is_available(), reason='DeepSpeed or a GPU is missing')
def test_deepspeed_takes_steps(tmp_path):
    (tmp_path / 'images/a').mkdir(parents=True)
    for i in range(16):
        Image.new('RGB', (32, 32), (i, 0, 0)).save(tmp_path / f'images/a/{i:02}.png')
    config = tmp_path / 'config.py'
    config.write_text(CONFIG.format(images=tmp_path / 'images') + '''
runner_type = 'FlexibleRunner'
strategy = dict(type='DeepSpeedStrategy', bf16=dict(enabled=True), inputs_to_half=['inputs'], zero_optimization=dict(stage=2))
optim_wrapper = dict(type='DeepSpeedOptimWrapper', optimizer=dict(type='AdamW', lr=1e-3))
custom_hooks = []
''')
    train(config, 1, 1, '--work-dir', tmp_path / 'out')
    assert (tmp_path / 'out/epoch_3.pth').is_dir()
