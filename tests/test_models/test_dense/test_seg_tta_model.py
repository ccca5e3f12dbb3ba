from types import SimpleNamespace

import pytest
import torch
from mmengine.structures import PixelData
from mmseg.models import SegTTAModel as MMSegTTAModel
from mmseg.structures import SegDataSample
from torch import nn

from nepa_mm.models import SegTTAModel


def wrapped(kind, out_channels):
    model = kind.__new__(kind)
    nn.Module.__init__(model)
    model.__dict__['module'] = SimpleNamespace(out_channels=out_channels, decode_head=SimpleNamespace(threshold=0.5))
    return model


def versions(*outputs):
    labels = PixelData(data=torch.ones(1, 2, 2))
    facts = dict(gt_sem_seg=labels, metainfo=dict(img_path='a.png'))
    return [[SegDataSample(seg_logits=PixelData(data=data), **facts) for data in outputs]]


def test_one_output_is_the_mean_of_its_probabilities():
    first, second = torch.tensor([[[0.9, 0.2], [0.4, 0.1]]]), torch.tensor([[[0.3, 0.1], [0.7, 0.0]]])
    merged, = wrapped(SegTTAModel, 1).merge_preds(versions(first, second))
    assert merged.pred_sem_seg.data.tolist() == [[[1, 0], [1, 0]]] and merged.img_path == 'a.png' and 'gt_sem_seg' in merged
    assert torch.equal(merged.seg_logits.data, (first + second) / 2)
    theirs, = wrapped(MMSegTTAModel, 1).merge_preds(versions(first, second))
    assert theirs.pred_sem_seg.data.mean() == pytest.approx(1)  # what this one is for


def test_several_outputs_are_mmsegs():
    outputs = torch.randn(2, 3, 2, 2)
    ours, theirs = (wrapped(kind, 3).merge_preds(versions(*outputs))[0] for kind in (SegTTAModel, MMSegTTAModel))
    assert torch.equal(ours.pred_sem_seg.data, theirs.pred_sem_seg.data)
