import copy
import io
import pickle
from multiprocessing.reduction import ForkingPickler

import pytest
import torch
from mmengine.structures import BaseDataElement
from mmpretrain.structures import DataSample
from torch.utils.data import DataLoader

from nepa_mm.datasets import collate_and_hold
from nepa_mm.datasets.packed_samples import PackedSamples


def samples() -> list[DataSample]:
    """With a label, a score and meta information each."""
    made = [DataSample(metainfo=dict(img_path=f'{i}.jpg', img_shape=(2, i))).set_gt_label(i) for i in range(5)]
    return [sample.set_gt_score(torch.arange(3.) + i) for i, sample in enumerate(made)]


def assert_same(found: list, expected: list) -> None:
    assert type(found) is list and len(found) == len(expected)
    for one, other in zip(found, expected):
        assert type(one) is type(other) and one.metainfo == other.metainfo
        assert set(one.keys()) == set(other.keys())  # mmengine holds them in a set, whose order changes from process to process
        assert all(torch.equal(one.get(key), other.get(key)) for key in other.keys())


@pytest.mark.parametrize('change', [
    lambda made: None, lambda made: made[2].set_gt_label([1, 2]), lambda made: made[3].set_field(torch.ones(1), 'more'),
    lambda made: made.append(BaseDataElement(metainfo=dict(img_path='x'))), lambda made: made.clear(),
    lambda made: made.__setitem__(slice(None), [DataSample(), DataSample()])])
def test_what_comes_out_is_what_went_in(change):
    made = samples()
    change(made)
    buffer = io.BytesIO()
    ForkingPickler(buffer).dump(PackedSamples(copy.deepcopy(made)))  # as a loader's worker does; it turns tensors into arrays
    assert_same(pickle.loads(buffer.getvalue()), made)


def test_each_sample_is_its_own():
    one, other, *_ = pickle.loads(pickle.dumps(PackedSamples(samples())))
    one.set_field(torch.ones(1), 'feature')
    assert 'feature' not in other and 'feature' in one


@pytest.mark.parametrize('workers', [0, 1])
def test_through_a_loader(workers):
    made = samples()
    data = [dict(inputs=torch.zeros(1), data_samples=sample) for sample in made]
    batch, = DataLoader(data, 5, num_workers=workers, collate_fn=collate_and_hold)
    assert_same(list(batch['data_samples']), samples())
