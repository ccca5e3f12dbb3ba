"""Handlers of signals are there for a training alone, also where an error ends it; its real signals are in test_reliability."""
import os
import signal
import time
from types import SimpleNamespace

import pytest
import torch
from mmengine.hooks import Hook
from mmengine.runner import Runner

from nepa_mm.engine import LoaderFaultsHook, StopOnSignalHook
from nepa_mm.engine.hooks.interruptions import dead
from tiny import Nearer, Numbers


class Bug(Hook):

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        assert signal.getsignal(signal.SIGALRM) != signal.SIG_DFL and signal.getitimer(signal.ITIMER_REAL)[1] == 0.05
        raise AssertionError('the error itself')


def test_after_an_error_the_next_signal_is_for_others_whatever_the_runner(tmp_path):
    signal.signal(signal.SIGINT, signal.default_int_handler)  # whatever a test before this one has left
    loader = dict(batch_size=2, num_workers=0, sampler=dict(type='DefaultSampler'), dataset=Numbers(serialize_data=False))
    runner = Runner(
        Nearer([]), str(tmp_path), train_dataloader=loader, train_cfg=dict(by_epoch=True, max_epochs=1),
        optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.1)), experiment_name=str(tmp_path),
        custom_hooks=[LoaderFaultsHook(timeout=0.2), StopOnSignalHook(), Bug()])
    before = {number: signal.getsignal(number) for number in (signal.SIGALRM, signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)}
    with pytest.raises(AssertionError, match='the error itself'):
        runner.train()
    time.sleep(0.2)
    assert signal.getitimer(signal.ITIMER_REAL) == (0, 0)
    with pytest.raises(KeyboardInterrupt):
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(1)
    assert {number: signal.getsignal(number) for number in before} == before


def test_a_worker_is_dead_also_if_torch_says_so_while_it_is_looked_at():
    def join(timeout):
        raise RuntimeError('DataLoader worker (pid 7) is killed by signal: Killed.')

    workers = [SimpleNamespace(pid=7, exitcode=-9, join=join), SimpleNamespace(pid=8, exitcode=None, join=lambda timeout: None)]
    assert dead(workers) == {7: -9}


class Slow(torch.utils.data.Dataset):

    def __len__(self):
        return 8

    def __getitem__(self, index):
        time.sleep(0.15)
        return index


class Validation(Hook):
    """As long as several time limits, of batches that come within each."""

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        self.seen = [int(batch) for batch in torch.utils.data.DataLoader(Slow(), num_workers=1)]


def test_the_time_limit_is_of_each_batch_also_in_a_validation(tmp_path):
    loader = dict(batch_size=8, num_workers=0, sampler=dict(type='DefaultSampler'), dataset=Numbers(serialize_data=False))
    validation = Validation()
    Runner(
        Nearer([]), str(tmp_path), train_dataloader=loader, train_cfg=dict(by_epoch=True, max_epochs=1),
        optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.1)), experiment_name=str(tmp_path),
        custom_hooks=[LoaderFaultsHook(timeout=0.5), validation]).train()
    assert validation.seen == list(range(8))
