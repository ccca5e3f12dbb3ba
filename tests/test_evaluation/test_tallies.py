"""What a test counts, against counts by hand, the hosts' metrics, and itself in two parts."""
import numpy as np
import pytest
import torch
from mmpretrain.evaluation import Accuracy, AveragePrecision, MultiLabelMetric
from mmseg.evaluation import IoUMetric

from nepa_mm.evaluation import KNNAccuracy, tallies
from nepa_mm.evaluation.class_report import class_grid, confusion_grid
from nepa_mm.evaluation.exact_iou_metric import ExactIoUMetric
from nepa_mm.evaluation.tallies import ClassificationTally, Extremes, MultiLabelTally, SegmentationTally, tally_of


def maps(number, classes=4, size=(20, 30)):
    """A prediction and a label map with pixels that are ignored and some that are no class."""
    draw = np.random.default_rng(number)
    label = draw.integers(0, classes - 1, size)  # the last class is in no label
    predicted = np.where(draw.random(size) < 0.6, label, draw.integers(0, classes - (number % 2), size))
    label[0, :9], label[1, :5] = 255, 77
    return predicted, label


def segmented(number):
    predicted, label = (torch.as_tensor(part)[None] for part in maps(number))
    return dict(pred_sem_seg=dict(data=predicted), gt_sem_seg=dict(data=label), img_path=f'folder/{number}.jpg')


def classified(number, classes=5):
    draw = torch.Generator().manual_seed(number)
    scores = torch.randint(0, 4, (classes, ), generator=draw).float().softmax(0)  # with equal ones
    return dict(gt_label=torch.randint(0, classes, (1, ), generator=draw), pred_score=scores, img_path=f'{number}.jpg')


def several(number, classes=5):
    draw = torch.Generator().manual_seed(number)
    label = (torch.rand(classes, generator=draw) < 0.4).long()
    label[number % classes] = -1 if number % 3 == 0 else label[number % classes]
    return dict(gt_score=label, pred_score=torch.rand(classes, generator=draw), img_path=f'{number}.jpg')


def counted(tally, samples, start=0, step=1):
    for index in range(start, len(samples), step):
        tally.add(index, samples[index])
    return tally


def evaluated(metric, samples, classes=5):
    metric.dataset_meta = dict(classes=[str(number) for number in range(classes)])
    metric.process({}, [dict(sample) for sample in samples])
    return metric.evaluate(len(samples))


def test_pixels_by_hand(monkeypatch):
    monkeypatch.setattr(tallies, 'CHUNK', 7)
    tally = counted(SegmentationTally('abcd', 255), [segmented(0), segmented(1)])
    expected = np.zeros((5, 5), int)
    for number in range(2):
        for said, label in zip(*(part.ravel().tolist() for part in maps(number))):
            if label != 255:
                expected[label if label < 4 else 4, said] += 1
    assert tally.matrix.dtype == np.int64 and (tally.matrix == expected).all() and expected[4].sum() == 10
    pairs = tally.pairs()
    assert pairs.counts.sum() == expected.sum() and pairs.labelled.tolist() == expected[:4].sum(1).tolist()
    label, said, count = pairs.confused()[0]
    assert count == expected[label, said] == (expected[:4, :4] - np.diag(expected.diagonal()[:4])).max()


def test_table_of_pixels_has_the_digits_of_the_metric():
    samples = [segmented(number) for number in range(3)]
    grid = class_grid(counted(SegmentationTally('abcd', 255), samples))
    for metric in (ExactIoUMetric(iou_metrics=['mIoU', 'mFscore']), IoUMetric(iou_metrics=['mIoU', 'mFscore'])):
        found = evaluated(metric, samples, 4)
        assert grid.rows[-1][3:] == [f'{found[name]:.2f}' for name in ('mIoU', 'mAcc', 'mPrecision')]
    ious = [float(row[3]) for row in grid.rows[:-1]]
    assert ious == sorted(ious) and grid.rows[0][0] == 'd' and ious[0] == 0 and grid.classes[0] == 3
    confused = confusion_grid(counted(SegmentationTally('abcd', 255), samples)).rows
    assert sum(float(row[4]) for row in confused) == pytest.approx(100, abs=0.1) and len(confused) == 9


def test_a_class_that_nobody_asked_for_has_no_number_and_comes_last():
    right = torch.zeros(1, 4, 4, dtype=torch.long)
    tally = counted(SegmentationTally(['sky', 'road'], 255), [dict(pred_sem_seg=dict(data=right), gt_sem_seg=dict(data=right))])
    grid = class_grid(tally)
    assert [row[0] for row in grid.rows] == ['sky', 'road', 'mean']
    assert grid.rows[1][1:] == ['0', '0.00', '-', '-', '-'] and grid.rows[2][3] == '-'  # as ExactIoUMetric
    assert confusion_grid(tally) is None


def test_table_of_images_has_the_digits_of_the_metric():
    samples = [classified(number) for number in range(200)]
    for topk in (1, (1, 3)):
        metric = Accuracy(topk=topk)
        tally = tally_of([metric], ['a', 'b'])  # names of two of five outputs
        grid = class_grid(counted(tally, samples))
        assert grid.rows[-1][:3] == ['all', '200', f'{evaluated(metric, samples)["accuracy/top1"]:.2f}']
        assert {row[0] for row in grid.rows[:-1]} == {'a', 'b', '2', '3', '4'}
        assert sum(int(row[1]) for row in grid.rows[:-1]) == 200
    confused = confusion_grid(tally).rows
    assert [int(row[2]) for row in confused] == sorted((int(row[2]) for row in confused), reverse=True) and len(confused) == 10


@pytest.mark.parametrize('options', [dict(thr=0.5), dict(thr=0.3), dict(topk=2)])
def test_table_of_several_labels_has_the_digits_of_the_metric(options):
    samples = [several(number) for number in range(60)]
    metric = MultiLabelMetric(**options)
    grid = class_grid(counted(tally_of([AveragePrecision(), metric], 'abcde'), samples))
    found = evaluated(metric, samples)
    names = [next(name for name in found if kind in name) for kind in ('f1-score', 'recall', 'precision')]
    assert grid.rows[-1][3:] == [f'{found[name]:.2f}' for name in names]


def test_labels_of_several_by_their_numbers():
    samples = [dict(gt_label=torch.tensor([0, 2]), pred_score=torch.tensor([0.9, 0.8, 0.1]), img_path='x')]
    tally = counted(MultiLabelTally(['red']), samples)
    assert tally.counts.tolist() == [[1, 0, 1], [1, 1, 0], [1, 0, 0]] and tally.classes == ['red', '1', '2']
    assert tally.extremes.lowest[0].score == 0.5 and tally.extremes.lowest[0].facts == ([0, 2], [0, 1])


@pytest.mark.parametrize('make, draw', [
    (lambda: SegmentationTally('abcd', 255), segmented), (lambda: ClassificationTally('abc', 2), classified),
    (lambda: MultiLabelTally('ab'), several)])
def test_two_parts_are_the_whole(make, draw):
    samples = [draw(number) for number in range(31)]
    whole = counted(make(), samples)
    both = counted(make(), samples, 0, 2).merged(counted(make(), samples, 1, 2))
    assert class_grid(both) == class_grid(whole) and both.classes == whole.classes
    for one, other in zip(both.extremes.sheet(), whole.extremes.sheet()):
        assert [image[:3] for image in one] == [image[:3] for image in other]
        assert all(np.array_equal(a, b) for x, y in zip(one, other) for a, b in zip(x.facts, y.facts))


def test_extremes_are_those_of_sorting_all_and_their_facts_are_made_for_few():
    scores = np.random.default_rng(0).integers(0, 20, 500) / 20
    extremes, made = Extremes(4), []
    for index, score in enumerate(scores.tolist()):
        extremes.add(score, index, str(index), lambda: made.append(1))
    extremes.add(float('nan'), 500, 'x', lambda: None)
    order = sorted(range(500), key=lambda index: (scores[index], index))
    worst, best = extremes.sheet()
    assert [image.index for image in worst] == order[:4] and extremes.total == 500 and len(made) < 60
    assert [image.index for image in best] == sorted(range(500), key=lambda index: (-scores[index], index))[:4]


@pytest.mark.parametrize('count, sizes', [(0, (0, 0)), (1, (1, 0)), (3, (2, 1)), (11, (6, 5)), (50, (6, 6))])
def test_no_image_is_among_the_worst_and_the_best(count, sizes):
    extremes = Extremes()
    for index in range(count):
        extremes.add(index / 50, index, '', lambda: None)
    worst, best = extremes.sheet()
    assert (len(worst), len(best)) == sizes and not {image.index for image in worst} & {image.index for image in best}


def test_images_of_one_score_are_shown_once():
    extremes = Extremes()
    for index in range(8):
        extremes.add(1., index, '', lambda: None)
    assert [[image.index for image in part] for part in extremes.sheet()] == [[0, 1, 2, 3], [4, 5]]


def test_an_images_score_is_its_own_mean_iou_and_one_without_labels_has_none():
    sample = segmented(0)
    tally = counted(SegmentationTally('abcd', 255), [sample])
    predicted, label = maps(0)
    said, label = predicted[label != 255], label[label != 255]
    ious = [((said == number) & (label == number)).sum() / ((said == number) | (label == number)).sum() for number in range(4)]
    assert tally.extremes.lowest[0].score == pytest.approx(np.mean(ious), abs=1e-12)
    sample['gt_sem_seg']['data'] = torch.full((1, 20, 30), 255)
    assert counted(SegmentationTally('abcd', 255), [sample]).extremes.total == 0


def test_kept_maps_are_small():
    large = torch.zeros(1, 2000, 1500, dtype=torch.long)
    tally = counted(SegmentationTally('ab', 255), [dict(pred_sem_seg=dict(data=large), gt_sem_seg=dict(data=large))])
    assert [pixels.shape for pixels in tally.extremes.lowest[0].facts] == [(286, 215)] * 2
    line = torch.zeros(1, 1, 9, dtype=torch.long)
    tally = counted(SegmentationTally('ab', 255), [dict(pred_sem_seg=dict(data=line[0]), gt_sem_seg=dict(data=line))])
    assert tally.matrix.sum() == 9 and tally.extremes.lowest[0].facts[0].shape == (1, 9)


def test_only_metrics_that_compare_classes_are_reported():
    assert tally_of([KNNAccuracy()], 'ab') is None
    assert tally_of([ExactIoUMetric(format_only=True)], 'ab') is None
    assert tally_of([ExactIoUMetric(ignore_index=9)], 'ab').ignore_index == 9
    assert isinstance(tally_of([AveragePrecision()], None), MultiLabelTally)


def test_of_several_heads_the_first_that_is_judged_is_counted():
    tally = tally_of([ExactIoUMetric(head=head, prefix=head) for head in ('dpt', 'linear')], 'ab')
    zeros, ones = (torch.full((1, 2, 3), value) for value in (0, 1))
    sample = {name: dict(data=data) for name, data in (
        ('gt_sem_seg', ones), ('pred_sem_seg', zeros), ('pred_sem_seg_linear', zeros), ('pred_sem_seg_dpt', ones))}
    both = counted(tally, [sample]).merged(tally)
    assert both.head == 'dpt' and both.pairs().hits.tolist() == [0, 12]
