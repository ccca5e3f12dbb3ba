"""Splits by the names of folders, and drawn ones."""
from pathlib import Path

import pytest

from nepa_mm.errors import DataError
from nepa_mm.own_data.splits import draw_split, sifted, words_of


def test_words_of_names():
    assert words_of('trainLabels_2') == ['train', 'labels', '2'] and words_of('IMG-01') == ['img', '01']


def test_one_of_each_class_stays_to_train_on():
    items = list(range(12))
    train, val = draw_split(items, [0] * 9 + [1] * 2 + [2], 0.5, seed=3)
    assert sorted(train + val) == items and train == sorted(train)
    assert [sum(first <= item < last for item in val) for first, last in ((0, 9), (9, 11), (11, 12))] == [4, 1, 0]


def test_a_split_of_which_nothing_is_kept_is_refused():
    splits = dict(train=[1, 2, 3], val=[4, 6])
    assert sifted(splits, (lambda item: item != 2), Path('data')) == dict(train=[1, 3], val=[4, 6])
    with pytest.raises(DataError, match=r"^all 2 images of 'val' are broken \| data \| mend one of them$"):
        sifted(splits, (lambda item: item % 2 == 1), Path('data'))
