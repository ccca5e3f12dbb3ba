"""Which class each value of label maps is, by the names that a file gives."""
from collections import Counter
from pathlib import Path

import pytest

from nepa_mm.own_data.class_names import ClassName
from nepa_mm.own_data.label_classes import classes_of
from nepa_mm.own_data.masks import Labels

RED, GREEN, BLUE = (200, 0, 0), (0, 200, 0), (0, 0, 200)


def found(names, pixels=((0, 50), (1, 30), (2, 20)), palette=()):
    labels = Labels('palette' if palette else 'values', Counter(dict(pixels)), dict(enumerate(palette)))
    return classes_of(labels, names, Path('classes.txt'), (), 'data')


@pytest.mark.parametrize('place, values', [(0, {0: 255, 1: 0, 2: 1}), (1, {1: 255, 2: 1}), (2, {2: 255})])
def test_void_is_ignored_wherever_it_stands(place, values):
    names = [ClassName('road'), ClassName('car')]
    names.insert(place, ClassName('void'))
    classes = found(names)
    assert classes.names == ['road', 'car'] and classes.values == values
    assert classes.ignored == [0.5, 0.3, 0.2][place] and sum(classes.shares) == pytest.approx(1 - classes.ignored)


def test_colours_of_names_and_of_a_palette_tell_more_than_the_order():
    names = [ClassName('grass', GREEN), ClassName('Void', BLUE), ClassName('fire', RED)]
    classes = found(names, palette=(RED, GREEN, BLUE))
    assert classes.names == ['grass', 'fire'] and classes.values == {0: 1, 1: 0, 2: 255}
    assert classes.palette == [list(GREEN), list(RED)] and classes.shares == [0.3, 0.5]
    other = found(names, palette=((1, 2, 3), (4, 5, 6), (7, 8, 9)))  # which are no colours of the names
    assert other.names == ['grass', 'fire'] and other.values == {1: 255, 2: 1}


def test_two_names_of_black_and_white():
    classes = found([ClassName('ground'), ClassName('house')], pixels=((0, 60), (255, 40)))
    assert classes.names == ['ground', 'house'] and classes.values == {255: 1} and classes.shares == [0.6, 0.4]
