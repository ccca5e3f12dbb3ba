"""Pixels are counted in whole numbers, as tools/analysis_tools/compute_miou.py counts them from files."""
import runpy

import numpy as np
import pytest
import torch
from mmengine.logging import MMLogger
from mmengine.registry import METRICS
from mmseg.evaluation import IoUMetric
from PIL import Image

from nepa_mm.errors import ConfigError
from tiny import ROOT

METRIC = dict(type='nepa_mm.ExactIoUMetric', iou_metrics=['mIoU', 'mDice', 'mFscore'])


def evaluated(metric, *pairs, classes='abc'):
    """What a metric, or the config of one, says of pairs of prediction and label [H, W]."""
    metric = METRICS.build(metric) if isinstance(metric, dict) else metric
    metric.dataset_meta = dict(classes=list(classes))
    samples = [dict(pred_sem_seg=dict(data=torch.as_tensor(predicted)[None]), gt_sem_seg=dict(data=torch.as_tensor(label)[None]),
                    img_path=f'{i}.jpg') for i, (predicted, label) in enumerate(pairs)]
    metric.process({}, samples)
    return metric.evaluate(len(samples))


def drawn(seed, classes=3, size=(40, 50)):
    number = np.random.default_rng(seed)
    label = number.integers(0, classes, size)
    predicted = np.where(number.random(size) < 0.7, label, number.integers(0, classes, size))
    label[0, :9], label[1, :5] = 255, 77  # ignored, and no class, which counts against what is predicted
    return predicted, label


def test_small_images_give_mmsegs_digits():
    pairs = drawn(0), drawn(1)
    theirs = evaluated(IoUMetric(iou_metrics=METRIC['iou_metrics']), *pairs)
    ours = evaluated(METRIC, *pairs)
    assert set(ours) == {'aAcc', 'mIoU', 'mAcc', 'mDice', 'mFscore', 'mPrecision', 'mRecall'}
    assert ours == pytest.approx(theirs, abs=0.005)
    assert evaluated(dict(METRIC, prefix='f'), *pairs).keys() == {f'f/{name}' for name in ours}


def test_a_tile_beyond_24_bits_is_counted_exactly_with_any_number_of_threads():
    label, predicted = np.zeros((2, 4500, 4100), np.uint8)  # 16.8 million pixels and 1.6 of two classes; 2^24 is 16.78
    label[:396], predicted[396:792] = 1, 1
    matrix = np.array([[3708, 396], [396, 0]]) * 4100
    compute = runpy.run_path(str(ROOT / 'tools/analysis_tools/compute_miou.py'))
    expected = dict(aAcc=82.4, mIoU=41.2, mAcc=45.18)
    assert compute['scores'](matrix) == expected
    threads = torch.get_num_threads()
    try:
        for number in (1, 2):
            torch.set_num_threads(number)
            found = evaluated(dict(type='nepa_mm.ExactIoUMetric'), (predicted, label), classes='ab')
            assert found == pytest.approx(expected, abs=1e-9)
    finally:
        torch.set_num_threads(threads)


def test_label_maps_are_written_as_mmseg_does(tmp_path):
    predicted, label = drawn(2)
    assert evaluated(dict(METRIC, output_dir=str(tmp_path), format_only=True), (predicted, label)) == {}
    assert (np.asarray(Image.open(tmp_path / '0.png')) == predicted).all()


def test_one_output_counts_two_classes():
    predicted, label = drawn(3, 2)
    as_float = evaluated(METRIC, (predicted.astype(np.float32), label), classes='ab')
    assert as_float == evaluated(METRIC, (predicted, label), classes='ab') and 50 < as_float['mIoU'] < 100


@pytest.fixture
def warnings(monkeypatch):
    said = []
    monkeypatch.setattr(MMLogger, 'warning', lambda self, message: said.append(message))
    return said


def test_what_is_not_known_is_no_part_of_a_perfect_mean(warnings):
    nothing = np.zeros((4, 4), int)
    ignored = np.where(np.eye(4, dtype=bool), 255, 0)  # the second class is read as 255: it is never asked for
    found = evaluated(METRIC, (nothing, ignored), classes=['background', 'road'])
    assert found['aAcc'] == 100 and all(np.isnan(value) for name, value in found.items() if name != 'aAcc')
    assert warnings[0].startswith('1 of 2 classes are in no label and in no prediction, so nothing is known about them: road. ')
    scores = runpy.run_path(str(ROOT / 'tools/analysis_tools/compute_miou.py'))['scores']
    assert scores(np.array([[12, 0], [0, 0]])) == dict(aAcc=100, mIoU=None, mAcc=None)
    wrong = evaluated(METRIC, (np.eye(4, dtype=int), nothing), classes='abc')  # predicted and not there: 0, and a mean as ever
    assert wrong['mIoU'] == 37.5 and 'c' in warnings[1]
    assert evaluated(dict(METRIC, nan_to_num=0), (nothing, ignored), classes='ab')['mIoU'] == 50
    assert len(warnings) == 2


def test_one_class_cannot_be_evaluated():
    with pytest.raises(ConfigError, match=r"^\['road'\] is one class, which every pixel is \| metainfo.classes \| name both"):
        evaluated(METRIC, drawn(4), classes=['road'])
