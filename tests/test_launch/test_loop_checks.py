"""Loops, samplers, schedules, hooks and metrics that do not fit together are refused, and what fits is not."""
import os
from glob import glob

import mmpretrain
import mmseg
import pytest
from mmengine.config import Config

from nepa_mm.errors import ConfigError
from nepa_mm.launch.loop_checks import check_loop, check_metrics
from tiny import ROOT

EPOCHS = dict(type='nepa_mm.AccumulatingEpochLoop', max_epochs=3)
STEPS = dict(type='nepa_mm.AccumulatingIterLoop', max_iters=30)
SAVES = dict(checkpoint=dict(type='CheckpointHook', by_epoch=False, interval=10))


def said(cfg, check=check_loop, *args):
    with pytest.raises(ConfigError) as error:
        check(Config(cfg), *args)
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
    (dict(val_dataloader=dict(batch_size=1), train_cfg=dict(STEPS, val_begin=31)), 'train_cfg.val_begin')])
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


def test_the_best_five_of_three_classes():
    model = dict(head=dict(type='LinearClsHead', num_classes=3))
    evaluator = dict(type='Accuracy', topk=(1, 5))
    assert said(dict(model=model, val_evaluator=evaluator), check_metrics, ('train', 'val')) == (
        '(1, 5): there are no 5 best of 3 classes', 'val_evaluator.topk')
    assert said(dict(model=dict(module=model), test_evaluator=[dict(type='SingleLabelMetric'), evaluator]), check_metrics,
                ('test', ))[1] == 'test_evaluator.1.topk'
    assert said(dict(model=dict(head=dict(num_classes=3, cal_acc=True, topk=5))), check_metrics, ())[1] == 'model.head.topk'
    check_metrics(Config(dict(model=model, val_evaluator=evaluator, test_evaluator=dict(evaluator, topk=3))), ('train', 'test'))


@pytest.mark.parametrize('dataset, key', [(dict(type='CustomDataset', with_label=False), 'with_label'),
                                          (dict(type='ImageNet', split='test'), 'split')])
def test_a_test_without_labels(dataset, key):
    cfg = dict(test_dataloader=dict(dataset=dataset), test_evaluator=dict(type='Accuracy'))
    with pytest.raises(ConfigError, match='classify_images.py') as error:
        check_metrics(Config(cfg), ('test', ))
    assert error.value.where == f'test_dataloader.dataset.{key}'
    check_metrics(Config({**cfg, 'test_evaluator': dict(type='IoUMetric')}), ('test', ))


def test_two_metrics_under_one_name():
    first, second = dict(type='nepa_mm.ExactIoUMetric', iou_metrics=['mIoU']), dict(type='IoUMetric', iou_metrics=['mFscore'])
    assert said(dict(val_evaluator=[first, second]), check_metrics, ('val', ))[1] == 'val_evaluator.1.prefix'
    check_metrics(Config(dict(val_evaluator=[first, dict(second, prefix='f')])), ('val', ))


def test_configs_of_this_repository_and_every_eightieth_of_the_hosts_fit():
    hosts = [path for host in (mmpretrain, mmseg)
             for path in sorted(glob(os.path.join(os.path.dirname(host.__file__), '.mim/configs/*/*.py')))[::80]
             if '/_base_/' not in path]
    ours = [str(path) for path in ROOT.glob('configs/*/*.py') if path.parent.name != '_base_'][::8]
    assert len(hosts) > 10 and len(ours) > 10
    for path in hosts + ours:
        cfg = Config.fromfile(path)
        check_loop(cfg)
        check_metrics(cfg, ('train', 'val', 'test'))
