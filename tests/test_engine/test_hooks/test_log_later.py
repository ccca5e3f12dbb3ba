import copy
import io
import json
import sys
from collections import Counter
from contextlib import contextmanager
from itertools import count

import numpy as np
import pytest
import torch
from mmengine.logging import HistoryBuffer, MessageHub
from mmengine.runner import Runner
from torch.utils._python_dispatch import TorchDispatchMode

from nepa_mm import NEPA, NEPAViT, NextEmbeddingLoss
from nepa_mm.engine.hooks.log_later import PatientBuffer, log_later
from tiny import TINY, Images

NUMBERS = count()
WAITS = {'aten::_local_scalar_dense', 'aten::nonzero', 'aten::is_nonzero', 'aten::equal'}  # what gives Python a tensor's number


class Waits(TorchDispatchMode):
    """Counts operations that wait for a device, or would if tensors were on one."""

    def __init__(self):
        super().__init__()
        self.seen = Counter()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if func._schema.name in WAITS:
            self.seen[func._schema.name] += 1
        return func(*args, **(kwargs or {}))


def runner(folder, patient=True, interval=4, **kwargs):
    torch.manual_seed(0)
    info = 'nepa_mm.PatientRuntimeInfoHook' if patient else 'RuntimeInfoHook'
    return Runner(**{**dict(
        model=NEPA(NEPAViT(**TINY), data_preprocessor=dict(mean=[127.5] * 3, std=[127.5] * 3)),
        work_dir=str(folder),
        train_dataloader=dict(
            batch_size=2, num_workers=0, drop_last=True, sampler=dict(type='DefaultSampler', shuffle=False), dataset=Images(),
            collate_fn=dict(type='default_collate')),
        train_cfg=dict(type='nepa_mm.AccumulatingEpochLoop', max_epochs=2),
        optim_wrapper=dict(
            type='nepa_mm.Bf16OptimWrapper' if patient else 'Stock',
            optimizer=dict(type='AdamW', lr=1e-3, fused=True),
            clip_grad=dict(max_norm=1.0)),
        param_scheduler=dict(type='LinearLR', start_factor=0.1, by_epoch=False, end=10),
        custom_hooks=[dict(type='EMAHook', ema_type='nepa_mm.ForeachEMA', momentum=0.3)],
        default_hooks=dict(runtime_info=dict(type=info), logger=dict(type='LoggerHook', interval=interval),
                           checkpoint=dict(type='CheckpointHook', interval=1)),
        randomness=dict(seed=0),
        experiment_name=f'log-later-{next(NUMBERS)}',
        default_scope='mmpretrain'), **kwargs})


@pytest.fixture(scope='module', autouse=True)
def stock():
    """The wrapper as it would be with mmengine's own clipping."""
    from mmengine.optim import OptimWrapper
    from mmengine.registry import OPTIM_WRAPPERS

    from nepa_mm.engine import Bf16OptimWrapper
    OPTIM_WRAPPERS.register_module('Stock', module=type('Stock', (Bf16OptimWrapper, ), dict(_clip_grad=OptimWrapper._clip_grad)))
    yield
    OPTIM_WRAPPERS._module_dict.pop('Stock')


@pytest.fixture
def reads(monkeypatch):
    """The sizes of tensors read as lists."""
    sizes, tolist = [], torch.Tensor.tolist
    monkeypatch.setattr(torch.Tensor, 'tolist', lambda tensor: sizes.append(tensor.numel()) or tolist(tensor))
    return sizes


def watch(built, watcher):
    """Run ``watcher(step)``, a context, around each step and its hooks."""
    loop = built.build_train_loop(built._train_loop)
    built._train_loop, take = loop, loop.take_step

    def watched(*args):
        with watcher(loop.iter + 1):
            take(*args)

    loop.take_step = watched


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.mark.parametrize('accumulated, is_displayed', [(1, False), (2, False), (1, True)])
def test_only_steps_that_log_wait_for_the_device(accumulated, is_displayed, tmp_path, reads, monkeypatch):
    hooks = [dict(type='EMAHook', ema_type='nepa_mm.ForeachEMA', momentum=0.3)]
    if is_displayed:
        monkeypatch.setenv('TERM', 'xterm')
        monkeypatch.setattr(sys, 'stdout', Terminal())
        hooks.append(dict(type='nepa_mm.ProgressHook', interval=0))  # draws in each step
    waits, read = {}, {}

    @contextmanager
    def watcher(step):
        before = len(reads)
        with waits.setdefault(step, Waits()):
            yield
        read[step] = reads[before:]

    built = runner(tmp_path, auto_scale_lr=dict(base_batch_size=2 * accumulated), custom_hooks=hooks)
    watch(built, watcher)
    built.train()
    if is_displayed:
        drawn = sys.stdout.getvalue()
        assert all(f'{step}/24' in drawn for step in range(1, 25)) and 'collapse' in drawn
    assert not any(mode.seen for step, mode in waits.items() if step > 1)  # the average asks once whether it has begun
    epoch = 12 // accumulated
    assert len(waits) == 2 * epoch
    last = {4: 4, 8: 4, 12: 4, 16: 4, 20: 4, 24: 4} if accumulated == 1 else {4: 4, 10: 4}  # steps that log, or that a save reads
    for step, sizes in read.items():
        assert bool(sizes) == (step in last), (step, sizes)
        # loss, cosine, collapse and norm of the steps since the last reading, at an epoch's end by the checkpoint
        assert sizes in ([], [4] * 4)


def test_the_count_would_see_mmengine_s_own(tmp_path):
    waits = {}
    built = runner(tmp_path, patient=False)
    watch(built, lambda step: waits.setdefault(step, Waits()))
    built.train()
    assert all(mode.seen['aten::_local_scalar_dense'] >= 4 for mode in waits.values())  # loss, cosine, collapse, norm


@pytest.mark.skipif(not torch.cuda.is_available(), reason='no GPU')
@pytest.mark.parametrize('compile', [False, True])
@pytest.mark.parametrize('accumulated, reading', [(1, {4, 8, 12, 16, 20, 24}), (2, {4, 6, 10, 12})])  # logs and checkpoints
def test_on_a_gpu_steps_that_do_not_log_never_wait(accumulated, reading, compile, tmp_path):
    @contextmanager
    def no_waits(step):
        torch.cuda.set_sync_debug_mode('error' if step > 2 and step not in reading else 'default')
        try:
            yield
        finally:
            torch.cuda.set_sync_debug_mode('default')

    preprocessor = dict(mean=[127.5] * 3, std=[127.5] * 3, compile=compile)
    model = NEPA(NEPAViT(**TINY, compile=compile), head=NextEmbeddingLoss(compile=compile), data_preprocessor=preprocessor)
    built = runner(tmp_path, model=model, auto_scale_lr=dict(base_batch_size=2 * accumulated))
    watch(built, no_waits)
    built.train()


def logged(folder):
    path, = folder.glob('*/vis_data/scalars.json')
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    return [{key: value for key, value in line.items() if 'time' not in key} for line in lines]


def test_logs_and_checkpoints_are_mmengine_s(tmp_path):
    built = {}
    for name, patient in (('ours', True), ('stock', False)):
        built[name] = runner(tmp_path / name, patient)
        built[name].train()
    lines = logged(tmp_path / 'ours')
    assert lines == logged(tmp_path / 'stock') and len(lines) == 6 and {'loss', 'grad_norm', 'cosine', 'lr'} <= lines[0].keys()
    ours, stock = (torch.load(tmp_path / name / 'epoch_1.pth', weights_only=False)['message_hub'] for name in ('ours', 'stock'))
    assert list(ours['log_scalars']) == list(stock['log_scalars']) and ours['resumed_keys'] == stock['resumed_keys']
    for key, buffer in ours['log_scalars'].items():
        assert type(buffer) is HistoryBuffer
        if 'time' not in key:
            assert all(np.array_equal(*pair) for pair in zip(buffer.data, stock['log_scalars'][key].data)), key

    again = runner(tmp_path / 'ours', load_from=str(tmp_path / 'ours/epoch_1.pth'), resume=True)
    again.train()
    whole, resumed = (run.message_hub.get_scalar('train/loss').data for run in (built['ours'], again))
    assert len(resumed[0]) == 24 and np.array_equal(whole[0][:12], resumed[0][:12])


def test_a_buffer_is_mmengine_s_but_for_tensors():
    ours, theirs = PatientBuffer(HistoryBuffer([3., 1.], [1, 1], max_length=300)), HistoryBuffer([3., 1.], [1, 1], max_length=300)
    for i in range(2500):
        value, times = float(np.float32(np.sin(i))), i % 3 + 1
        ours.update(torch.tensor(value).reshape([1] * (i % 2)) if i % 5 else np.float64(value), times)
        theirs.update(value, times)
        if i % 170 == 0 or i == 2499:
            assert all(np.array_equal(*pair) for pair in zip(ours.data, theirs.data))
            for method in ('mean', 'max', 'min'):
                assert ours.statistics(method, 10) == theirs.statistics(method, 10)
            assert ours.current() == theirs.current() and ours.mean() == theirs.mean()
    assert len(ours.waiting) == 0 and ours.history.shape[1] < 1500
    file = io.BytesIO()
    torch.save(ours, file)
    file.seek(0)
    for copied in (copy.deepcopy(ours), torch.load(file, weights_only=False)):
        assert type(copied) is HistoryBuffer and np.array_equal(copied.data[0], theirs.data[0]) and copied.max_length == 300


def test_a_tensor_s_graph_is_not_kept():
    hub = MessageHub.get_instance(f'log-later-{next(NUMBERS)}')
    value = torch.ones(1, requires_grad=True) * 2
    log_later(hub, 'train/loss', value)
    log_later(hub, 'train/loss', 4)
    buffer = hub.get_scalar('train/loss')
    assert not buffer.waiting[0][0].requires_grad
    assert buffer.data[0].tolist() == [2, 4] and buffer.mean() == 3
