"""Trainings of seconds through the real command, with all that is drawn at random in them, to be killed and resumed."""
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import torch
from forks import ENV, Process
from PIL import Image

from nepa_mm.checkpoints.storage.durable import check_whole
from nepa_mm.checkpoints.storage.files import read_checkpoint
from tiny import ROOT

CONFIG = '''
_base_ = '{root}/configs/_base_/default_runtime.py'
model = dict(
    type='ImageClassifier',
    data_preprocessor=dict(num_classes=2),
    backbone=dict(
        type='nepa_mm.NEPAViT', arch=dict(embed_dims=16, num_layers=2, num_heads=2, feedforward_channels=32), img_size=28,
        patch_size=7, causal=False, out_type='avg_featmap', drop_path_rate=0.5),
    head=dict(type='LinearClsHead', num_classes=2, in_channels=16, loss=dict(type='LabelSmoothLoss', label_smooth_val=0.1)),
    train_cfg=dict(augments=dict(type='nepa_mm.TimmMixup', mixup_alpha=0.8, cutmix_alpha=1.0, num_classes=2)))
pipeline = [
    dict(type='nepa_mm.LoadImage'),
    dict(type='nepa_mm.TimmTransform', input_size=28, is_training=True, auto_augment='rand-m9-mstd0.5-inc1', re_prob=0.5,
         re_mode='pixel', mean=[0.5] * 3, std=[0.5] * 3),
    dict(type='PackInputs')]
train_dataloader = dict(
    batch_size=2, num_workers=2, persistent_workers=True, drop_last=True, collate_fn=dict(type='default_collate'),
    sampler=dict(type='{sampler}', shuffle=True),
    dataset=dict(type='CustomDataset', data_root='{data}', pipeline=pipeline))
optim_wrapper = dict(optimizer=dict(type='AdamW', lr=1e-3), clip_grad=dict(max_norm=1.0))
train_cfg = dict(type='{loop}', {length})
param_scheduler = dict(type='CosineAnnealingLR', by_epoch=False)
auto_scale_lr = dict(base_batch_size=4)
custom_hooks = [dict(type='EMAHook', ema_type='nepa_mm.ForeachEMA', momentum=0.1, update_buffers=True)]
default_hooks = dict(logger=dict(interval=1), checkpoint=dict(interval={interval}, by_epoch={by_epoch}))
'''
VALIDATION = '''
val_cfg = dict()
val_evaluator = dict(type='Accuracy')
val_dataloader = dict(
    batch_size=4, num_workers=1, persistent_workers=True, collate_fn=dict(type='default_collate'),
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(type='CustomDataset', data_root=train_dataloader['dataset']['data_root'], pipeline=[
        dict(type='nepa_mm.LoadImage'), dict(type='Resize', scale=(28, 28)), dict(type='PackInputs')]))
'''
LOOPS = {
    'epoch': dict(
        loop='nepa_mm.AccumulatingEpochLoop', length='max_epochs=3', sampler='DefaultSampler', interval=1, by_epoch=True),
    'iter': dict(
        loop='nepa_mm.AccumulatingIterLoop', length='max_iters=15', sampler='InfiniteSampler', interval=4, by_epoch=False),
    'iter-epochs': dict(
        loop='nepa_mm.AccumulatingIterLoop', length='max_iters=15', sampler='DefaultSampler', interval=4, by_epoch=False),
    'mmengine-epoch': dict(
        loop='EpochBasedTrainLoop', length='max_epochs=2', sampler='DefaultSampler', interval=1, by_epoch=True),
    'mmengine-iter': dict(
        loop='IterBasedTrainLoop', length='max_iters=15', sampler='InfiniteSampler', interval=4, by_epoch=False),
}


def write_config(folder: Path, kind: str = 'epoch', images: int = 20) -> Path:
    """A config of a training of 15 steps of 2 x 2 images, 5 an epoch, and its images; mmengine's loops take steps of 2 images."""
    random = np.random.default_rng(0)
    for i in range(images):
        path = folder / f'data/{i % 2}/{i}.png'
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(random.integers(0, 256, (40, 36, 3), np.uint8)).save(path)
    config = folder / f'{kind}.py'
    config.write_text(CONFIG.format(root=ROOT, data=folder / 'data', **LOOPS[kind]))
    return config


def start(config: Path, folder: Path, *arguments, before: str = '', env: dict[str, str] = {}, **options) -> Process:
    """``tools/train.py`` in a process group of its own.

    Args:
        config: The config file.
        folder: The work dir.
        *arguments: Of the command.
        before: Python code that its process runs first.
        env: Further environment variables.
        **options: Settings for ``--cfg-options``, a dot in their keys written as __.
    """
    return Process(command(config, folder, *arguments, **options), config.parent, env, before)


def command(config: Path, folder: Path, *arguments, **options) -> list[str]:
    """The command line."""
    settings = [f'{key.replace("__", ".")}={value}' for key, value in options.items()]
    parts = [ROOT / 'tools/train.py', config, '--work-dir', folder, *arguments]
    return [str(part) for part in parts + (['--cfg-options', *settings] if settings else [])]


def start_cold(config: Path, folder: Path, *arguments, **options) -> subprocess.Popen:
    """The same in a new interpreter."""
    return subprocess.Popen([sys.executable, '-W', 'ignore', *command(config, folder, *arguments, **options)], cwd=folder.parent,
                            env=ENV, text=True, start_new_session=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def finish(process: Process | subprocess.Popen, code: int = 0) -> str:
    """Wait for its end, check the exit code and give back what it wrote to standard error."""
    out, err = process.communicate(timeout=300)
    assert process.returncode == code, f'{process.returncode}\n{out[-3000:]}\n{err[-3000:]}'
    return err


def last_line(said: str) -> str:
    """Of what a process wrote to standard error."""
    return said.strip().splitlines()[-1]


def train(config: Path, folder: Path, *arguments, code: int = 0, **options) -> str:
    return finish(start(config, folder, *arguments, **options), code)


def at(*args, **kwargs) -> str:
    """``before`` of :func:`start` that sends a signal at a point; see ``interrupt.at``."""
    return interrupting('at', *args, **kwargs)


def interrupting(name: str, *args, **kwargs) -> str:
    """``before`` of :func:`start` that calls a function of interrupt.py."""
    arguments = [repr(int(arg) if isinstance(arg, int) else arg) for arg in args]
    arguments += [f'{key}={value!r}' for key, value in kwargs.items()]
    return f'import interrupt; interrupt.{name}({", ".join(arguments)})\n'


SLOWLY = 'import interrupt; interrupt.slow_steps()\n'


def last_checkpoint(folder: Path) -> Path:
    """Of a training that has ended."""
    return max((path for path in folder.glob('*.pth')), key=lambda path: int(path.stem.rpartition('_')[2]))


def only_step(folder: Path) -> int:
    """The step of the one checkpoint that a stop left, which is whole."""
    path, = folder.glob('iter_*.pth')
    check_whole(path)
    return int(path.stem.removeprefix('iter_'))


def assert_resumes(config: Path, folder: Path, whole: Path, *arguments) -> str:
    """Resume a training, which must then have the losses and the end of one that nothing interrupted; its log."""
    train(config, folder, *(arguments or ['--resume']))
    assert loss_of_steps(folder) == loss_of_steps(whole)
    assert_same_end(folder / last_checkpoint(whole).name, last_checkpoint(whole))
    assert not list(folder.glob('.*.tmp'))
    return max(folder.glob('*/*.log')).read_text()


def kill_at(process: Process | subprocess.Popen, folder: Path, step: int, number: int = signal.SIGKILL) -> None:
    """Signal a training once it has logged a step."""
    while not any(record['step'] >= step for record in losses(folder)):
        assert process.poll() is None, process.communicate()
        time.sleep(0.02)
    os.kill(process.pid, number)


def losses(folder: Path) -> list[dict]:
    """All lines of the log, over all starts."""
    lines = [line for path in sorted(folder.glob('*/vis_data/scalars.json')) for line in path.read_text().splitlines()]
    return [record for record in map(json.loads, lines) if 'loss' in record]


def loss_of_steps(folder: Path) -> dict[int, tuple[float, float]]:
    """Loss and gradient norm of each step; of those that were taken twice, the later."""
    return {record['iter']: (record['loss'], record['grad_norm']) for record in losses(folder)}


def assert_same_end(one: Path, two: Path) -> None:
    """Bit-equal weights, averages and states of optimizer and schedules."""
    first, second = (read_checkpoint(path) for path in (one, two))
    for key in ('state_dict', 'ema_state_dict', 'optimizer', 'param_schedulers'):
        assert_equal(first[key], second[key], key)
    assert first['meta']['iter'] == second['meta']['iter']


def assert_equal(one, two, where: str) -> None:
    if isinstance(one, torch.Tensor):
        assert torch.equal(one, two), where
    elif isinstance(one, dict):
        assert one.keys() == two.keys(), where
        for key in one:
            assert_equal(one[key], two[key], f'{where}.{key}')
    elif isinstance(one, (list, tuple)):
        assert len(one) == len(two), where
        for i, pair in enumerate(zip(one, two)):
            assert_equal(*pair, f'{where}.{i}')
    else:
        assert one == two, f'{where}: {one!r} {two!r}'
