"""Loops, samplers, schedules and hooks that do not fit together are refused, and what fits is not."""
import pytest
from mmengine.config import Config

from nepa_mm.errors import ConfigError
from nepa_mm.launch.checks.loop import check_loop

EPOCHS = dict(type='nepa_mm.AccumulatingEpochLoop', max_epochs=3)
STEPS = dict(type='nepa_mm.AccumulatingIterLoop', max_iters=30)
SAVES = dict(checkpoint=dict(type='CheckpointHook', by_epoch=False, interval=10))


def said(cfg):
    with pytest.raises(ConfigError) as error:
        check_loop(Config(cfg))
    return error.value.what, error.value.where


@pytest.mark.parametrize('loop', [EPOCHS, dict(by_epoch=True, max_epochs=3), dict(type='EpochBasedTrainLoop', max_epochs=3)])
def test_an_epoch_must_end(loop):
    loader = dict(sampler=dict(type='InfiniteSampler', shuffle=True))
    assert said(dict(train_cfg=loop, train_dataloader=loader)) == (
        "'InfiniteSampler' never ends, and so the first epoch would not", 'train_dataloader.sampler.type')
    check_loop(Config(dict(train_cfg=STEPS, train_dataloader=loader, default_hooks=SAVES)))
    check_loop(Config(dict(train_cfg=loop, train_dataloader=dict(sampler=dict(type='DefaultSampler')))))


@pytest.mark.parametrize('added, where', [
    (dict(param_scheduler=[dict(type='LinearLR', by_epoch=False), dict(type='PolyLR')]), 'param_scheduler.1.by_epoch'),
    (dict(param_scheduler=dict(type='PolyLR', by_epoch=True)), 'param_scheduler.by_epoch'),
    (dict(param_scheduler=dict(one=[dict(type='PolyLR')])), 'param_scheduler.one.0.by_epoch'),
    (dict(default_hooks=dict(checkpoint=dict(type='CheckpointHook', interval=1))), 'default_hooks.checkpoint.by_epoch'),
    (dict(custom_hooks=[dict(type='EMAHook', begin_epoch=2)]), 'custom_hooks.0.begin_epoch'),
    (dict(custom_hooks=[dict(type='EMAHook', begin_iter=31)]), 'custom_hooks.0.begin_iter'),
    (dict(val_dataloader=dict(batch_size=1), train_cfg=dict(STEPS, val_begin=31)), 'train_cfg.val_begin'),
    (dict(val_dataloader=dict(batch_size=1), train_cfg=dict(STEPS, val_interval=0)), 'train_cfg.val_interval')])
def test_what_a_loop_of_iterations_never_comes_to(added, where):
    assert said({**dict(train_cfg=STEPS, default_hooks=SAVES), **added})[1] == where


@pytest.mark.parametrize('schedule', [
    dict(type='PolyLR', by_epoch=True, convert_to_iter_based=True), dict(type='ReduceOnPlateauLR', monitor='loss'),
    dict(type='PolyLR', by_epoch=False)])
def test_what_it_comes_to(schedule):
    check_loop(Config(dict(train_cfg=STEPS, default_hooks=SAVES, param_scheduler=schedule)))
    average = dict(type='EMAHook', begin_epoch=3)
    check_loop(Config(dict(train_cfg=EPOCHS, param_scheduler=dict(type='PolyLR'), custom_hooks=[average])))
    check_loop(Config(dict(train_cfg=dict(type='SelfTrainingLoop', max_iters=3))))
    check_loop(Config(dict(train_cfg=dict(EPOCHS, val_interval=0))))  # of no validation
