"""Each layout of masks is recognised: pairs, classes, and labels whose mIoU is that of an independent count."""
import numpy as np
import pytest
import torch
from mask_layouts import LAYOUTS
from mmengine.registry import DATASETS, MODELS, DefaultScope, init_default_scope
from mmengine.structures import PixelData
from mmseg.structures import SegDataSample
from own_configs import written

from nepa_mm.evaluation import ExactIoUMetric


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    DefaultScope._instance_dict.clear()


def datasets_of(cfg):
    init_default_scope('mmseg')
    return {split: DATASETS.build(cfg[f'{split}_dataloader'].dataset) for split in ('train', 'val')}


def miou(truths, predictions, count):
    """Mean of the classes' intersections over unions, in percent, by sets of pixels."""
    known = [np.stack([truth, predicted])[:, truth != 255] for truth, predicted in zip(truths, predictions)]
    truth, predicted = np.concatenate(known, axis=1)
    ious = [np.sum((truth == k) & (predicted == k)) / np.sum((truth == k) | (predicted == k)) for k in range(count)]
    return 100 * np.mean(ious)


@pytest.mark.parametrize('name', LAYOUTS)
def test_layout(name, folder, monkeypatch):
    layout = LAYOUTS[name]
    truth = layout.draw(folder / 'data')
    before = sorted((folder / 'data').rglob('*'))
    cfg = written(monkeypatch, 'segmentation', *layout.options)
    assert sorted((folder / 'data').rglob('*')) == before
    assert len((folder / 'own.py').read_text().splitlines()) <= 40
    assert cfg.images.type == layout.dataset and list(cfg.images.metainfo.classes) == layout.names
    assert cfg.model.decode_head.num_classes == cfg.model.auxiliary_head.num_classes == len(layout.names)
    sets = datasets_of(cfg)
    facts = {split: [data.get_data_info(i) for i in range(len(data))] for split, data in sets.items()}
    places = {split: [info['img_path'].removeprefix('data/') for info in infos] for split, infos in facts.items()}
    assert sorted(places['train'] + places['val']) == sorted(truth) and len(places['val']) == (1 if layout.drawn else 2)
    if not layout.drawn:
        assert places['val'] == list(truth)[4:]
    samples = [sets['val'][i]['data_samples'] for i in range(len(sets['val']))]
    wanted = [truth[place] for place in places['val']]
    for sample, labels in zip(samples, wanted):
        np.testing.assert_array_equal(sample.gt_sem_seg.data[0].numpy(), labels)
    predicted = [np.roll(np.where(labels == 255, 0, labels), 5, axis=1) for labels in wanted]
    metric = ExactIoUMetric(iou_metrics=['mIoU'])
    metric.dataset_meta = sets['val'].metainfo
    for sample, labels in zip(samples, predicted):
        sample.pred_sem_seg = PixelData(data=torch.from_numpy(labels)[None])
        metric.process({}, [sample.to_dict()])
    assert metric.evaluate(len(samples))['mIoU'] == pytest.approx(miou(wanted, predicted, len(layout.names)), abs=0.01)


def test_one_output_for_two_classes_is_evaluated_by_its_threshold(folder, monkeypatch):
    LAYOUTS['binary'].draw(folder / 'data')
    cfg = written(monkeypatch, 'segmentation', '--one-channel', 0.4)
    init_default_scope('mmseg')
    model = MODELS.build(cfg.model)
    assert model.out_channels == 1 and model.decode_head.num_classes == 2
    logits = torch.linspace(-2, 2, 12).reshape(1, 1, 3, 4)
    sample = SegDataSample(metainfo=dict(img_shape=(3, 4), ori_shape=(3, 4)))
    predicted = model.postprocess_result(logits, [sample])[0].pred_sem_seg.data
    assert torch.equal(predicted.bool(), logits[0].sigmoid() > 0.4)
    assert all(loss.use_sigmoid for loss in (model.decode_head.loss_decode, model.auxiliary_head.loss_decode))
