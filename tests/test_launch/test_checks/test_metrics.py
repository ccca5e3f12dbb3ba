"""Metrics that cannot be are refused, and what may be is not."""
import pytest
from mmengine.config import Config

from nepa_mm.errors import ConfigError
from nepa_mm.launch.checks.metrics import check_best, check_metrics


def said(cfg, splits):
    with pytest.raises(ConfigError) as error:
        check_metrics(Config(cfg), splits)
    return error.value.what, error.value.where


def test_the_best_five_of_three_classes():
    model = dict(head=dict(type='LinearClsHead', num_classes=3))
    evaluator = dict(type='Accuracy', topk=(1, 5))
    assert said(dict(model=model, val_evaluator=evaluator), ('train', 'val')) == (
        '(1, 5): there are no 5 best of 3 classes', 'val_evaluator.topk')
    wrapped = dict(model=dict(module=model), test_evaluator=[dict(type='SingleLabelMetric'), evaluator])
    assert said(wrapped, ('test', ))[1] == 'test_evaluator.1.topk'
    assert said(dict(model=dict(head=dict(num_classes=3, cal_acc=True, topk=5))), ())[1] == 'model.head.topk'
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
    assert said(dict(val_evaluator=[first, second]), ('val', ))[1] == 'val_evaluator.1.prefix'
    check_metrics(Config(dict(val_evaluator=[first, dict(second, prefix='f')])), ('val', ))


ACCURACY, IOU = dict(type='Accuracy', topk=(1, 5)), dict(type='mmseg.IoUMetric', iou_metrics=['mIoU', 'mFscore'], prefix='a')


def chosen_by(best, evaluator, **others):
    check_best(Config(dict(dict(
        default_scope='mmpretrain', val_dataloader=dict(batch_size=1), val_evaluator=evaluator, val_cfg=dict(),
        default_hooks=dict(checkpoint=dict(type='CheckpointHook', save_best=best))), **others)))


@pytest.mark.parametrize('best, evaluator, names', [
    ('acc', ACCURACY, ['accuracy/top1', 'accuracy/top5']),
    ('accuracy/top1_origin', ACCURACY, ['accuracy/top1', 'accuracy/top5']),  # which EMAHook logs, and no more
    (['accuracy/top1', 'accuracy/top2'], [dict(ACCURACY, prefix='')], ['accuracy/top1', 'accuracy/top5']),
    ('accuracy/top1', [dict(ACCURACY, prefix='own', topk=1)], ['own/top1']),
    ('mIoU', [IOU], ['a/aAcc', 'a/mAcc', 'a/mFscore', 'a/mIoU', 'a/mPrecision', 'a/mRecall']),
    ('mDice', dict(type='nepa_mm.ExactIoUMetric'), ['aAcc', 'mAcc', 'mIoU']),
    ('knn/top1', dict(type='nepa_mm.KNNAccuracy', k=[5, 20]), ['knn/top1_k20', 'knn/top1_k5'])])
def test_the_best_is_chosen_by_a_metric_that_is_reported(best, evaluator, names):
    with pytest.raises(ConfigError) as error:
        chosen_by(best, evaluator)
    name = best if isinstance(best, str) else best[1]
    assert error.value.line == (f'{name!r} is no metric of the validation, which has {names} | '
                                'default_hooks.checkpoint.save_best | name one of them, or set it to None')


@pytest.mark.parametrize('best, evaluator, others', [
    ('auto', ACCURACY, {}), (None, ACCURACY, {}), ('accuracy/top5', ACCURACY, {}),
    (['a/mIoU', 'a/mRecall'], IOU, {}), ('knn/top1_k20', dict(type='nepa_mm.KNNAccuracy'), {}),
    ('own', [ACCURACY, dict(type='OwnMetric')], {}), ('own', dict(ACCURACY, thrs=(0., 0.5)), {}),
    ('own', dict(type='own.Accuracy'), {}), ('own', ACCURACY, dict(default_scope='own')),
    ('own', ACCURACY, dict(custom_imports=dict(imports=['own']))), ('own', ACCURACY, dict(val_cfg=dict(type='OwnLoop'))),
    ('own', ACCURACY, dict(custom_hooks=[dict(type='AddMetricHook')])), ('own', ACCURACY, dict(val_dataloader=None)),
    ('own', dict(type='mmseg.IoUMetric', iou_metrics=['own']), {})])
def test_what_may_be_reported_is_not_refused(best, evaluator, others):
    chosen_by(best, evaluator, **others)
