import copy
import pickle
from itertools import islice

import numpy as np
import pytest
import torch
from mmengine.dataset import BaseDataset

from nepa_mm.datasets import SeededDataset
from nepa_mm.datasets.seeded_dataset import Draw, DrawSampler


class Numbers(BaseDataset):
    """Twelve samples: index and a number that the pipeline draws."""

    def load_data_list(self):
        return [dict(index=i) for i in range(12)]


def noise(sample: dict) -> tuple:
    return sample['index'], np.random.rand(), float(torch.rand(()))


def dataset(seed=0) -> SeededDataset:
    return SeededDataset(Numbers(pipeline=[noise]), seed)


def test_a_sample_is_a_function_of_seed_epoch_place_and_image():
    draw = Draw(3, epoch=1, position=7)
    expected = dataset()[draw]
    state = np.random.get_state()[1].tolist(), torch.get_rng_state()
    assert dataset()[draw] == expected and expected[0] == 3
    assert np.random.get_state()[1].tolist() == state[0] and torch.equal(torch.get_rng_state(), state[1])
    others = [dataset(1)[draw], dataset()[Draw(3, 2, 7)], dataset()[Draw(3, 1, 8)], dataset()[Draw(4, 1, 7)]]
    assert len({expected[1:], *(other[1:] for other in others)}) == 5


def test_a_plain_index_draws_as_the_dataset_itself():
    one = dataset()
    np.random.seed(3), torch.manual_seed(3)
    expected = one.dataset[5]
    np.random.seed(3), torch.manual_seed(3)
    assert one[5] == expected
    assert one[5] != expected  # and draws on


@pytest.mark.parametrize('through', [copy.copy, copy.deepcopy, lambda draw: pickle.loads(pickle.dumps(draw))])
def test_a_draw_is_an_index_that_keeps_epoch_and_place(through):
    draw = through(Draw(3, epoch=1, position=7))
    assert (draw, draw.epoch, draw.position) == (3, 1, 7) and 'abcd'[draw] == 'd' and type(draw) is Draw


def test_it_is_the_dataset_in_all_else():
    one = dataset()
    assert len(one) == 12 and one.get_data_info(4)['index'] == 4 and one.metainfo == one.dataset.metainfo
    with pytest.raises(AttributeError, match='nothing_such'):
        one.nothing_such()
    assert not hasattr(SeededDataset.__new__(SeededDataset), 'pipeline')  # as while it is copied, without end


def test_a_hook_that_exchanges_the_pipeline_exchanges_that_of_the_dataset():
    # As PipelineSwitchHook, SimMIM's SwitchRecipeHook and others do.
    one = dataset()
    one.pipeline = lambda sample: 'other'
    assert one[Draw(0, 0, 0)] == 'other' and one.dataset.pipeline is one.pipeline and 'pipeline' not in vars(one)


@pytest.mark.parametrize('sampler', [dict(type='DefaultSampler', shuffle=True), dict(type='InfiniteSampler', shuffle=True)])
def test_a_pass_that_begins_later_is_the_rest_of_the_whole(sampler):
    whole = DrawSampler(dataset(), sampler, seed=4)
    whole.set_epoch(2)
    expected = [(draw, draw.epoch, draw.position) for draw in islice(whole, 12)]
    assert [position for _, _, position in expected] == list(range(12)) and {epoch for _, epoch, _ in expected} == {2}
    assert sorted(index for index, _, _ in expected) == list(range(12)) and [index for index, _, _ in expected] != list(range(12))
    later = DrawSampler(dataset(), sampler, seed=4)
    later.set_epoch(2)
    later.begin_after(5)
    assert [(draw, draw.epoch, draw.position) for draw in islice(later, 7)] == expected[5:]
    assert [(draw, draw.epoch, draw.position) for draw in islice(later, 12)] == expected  # the next pass is whole again
    if not later.is_infinite:
        assert len(list(later)) == 12
        assert later.indices(2, 3, 6) == [index for index, _, _ in expected[3:6]]


@pytest.mark.parametrize('workers', [0, 2])
def test_workers_draw_the_same(workers):
    one = dataset()
    loader = torch.utils.data.DataLoader(
        one, batch_size=3, num_workers=workers, sampler=DrawSampler(one, dict(type='DefaultSampler', shuffle=True), 0),
        collate_fn=list)
    expected = [one[draw] for draw in DrawSampler(one, dict(type='DefaultSampler', shuffle=True), 0)]
    assert [sample for batch in loader for sample in batch] == expected
