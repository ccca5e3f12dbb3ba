"""What a segmentation cannot be trained on: one line each with path, value and remedy, before anything is written."""
import numpy as np
import pytest
from drawn_data import class_map, image, save

from nepa_mm.errors import UserError
from nepa_mm.own_data.class_names import read_class_names
from nepa_mm.own_data.label_classes import classes_of
from nepa_mm.own_data.mask_pairs import find_pairs
from nepa_mm.own_data.masks import Labels, read_masks, require_sound_masks


def pairs_of(root, count=3, classes=3, size=(72, 56), **kwargs):
    for i in range(count):
        image(root / f'images/{i}.png', size)
        save(root / f'masks/{i}.png', class_map(i, classes), **kwargs)
    return root


def look(root, names=(), ignore=(), leave_out=False):
    found = find_pairs(root, 0.25, 0)
    masks = read_masks(found.pairs, 1)
    broken = require_sound_masks(masks, leave_out)
    labels = Labels.of([mask for mask in masks if mask.path not in broken])
    return classes_of(labels, names, root / 'classes.txt', ignore, str(root))


def remove(root, name):
    (root / name).unlink()


def wide(root):
    remove(root, 'masks/0.png')
    save(root / 'masks/0.tif', np.full((56, 72), 70_000, np.int32))


CASES = dict(
    no_masks=(lambda root: [remove(root, f'masks/{i}.png') for i in range(3)], '3 images and 0 label maps are told'),
    named_otherwise=(lambda root: [(root / f'masks/{i}.png').rename(root / f'masks/x{i}y.png') for i in range(3)],
                     'none of 3 images has a label map'),
    no_image=(lambda root: remove(root, 'images/1.png'), r'1 of 3 label maps match no image \| .*masks/1.png \| '),
    several=(lambda root: save(root / 'labels/1.png', class_map(0, 3)), '2 files are one label map by their names'),
    one_pair=(lambda root: [remove(root, f'{kind}/{i}.png') for kind in ('images', 'masks') for i in (1, 2)],
              'it holds one image with its label map'),
    one_class=(lambda root: [save(root / f'masks/{i}.png', np.zeros((56, 72), np.uint8)) for i in range(3)],
               '1 class is in the label maps'),
    other_size=(lambda root: save(root / 'masks/2.png', class_map(0, 3, (80, 56))),
                r'1 of 3 label maps do not fit: 80 x 56 pixels, and its image has 72 x 56 \| .*masks/2.png \| .*--leave-out'),
    truncated=(lambda root: (root / 'masks/1.png').write_bytes((root / 'masks/1.png').read_bytes()[:60]),
               r'1 of 3 label maps do not fit: it cannot be read as a label map \(.*\) \| .*masks/1.png'),
    more_than_16_bits=(wide, r'values from 70000 to 70000, and label maps hold 0 to 65535'),
    many_values=(lambda root: save(root / 'masks/0.png', np.arange(56 * 72, dtype=np.uint16).reshape(56, 72)),
                 r'40\d\d values are in the label maps, and there can be 255 classes'),
    many_colours=(lambda root: [save(root / f'masks/{i}.png', np.random.default_rng(i).integers(0, 256, (56, 72, 3), np.uint8))
                                for i in range(3)], r'\d+ colours are in the label maps \| .* \| name those of classes'),
    mixed=(lambda root: save(root / 'masks/0.png', np.zeros((56, 72, 3), np.uint8)), 'it holds numbers, and .*0.png.* colours'),
)


@pytest.mark.parametrize('name', CASES)
def test_masks(name, tmp_path):
    spoil, message = CASES[name]
    spoil(pairs_of(tmp_path))
    with pytest.raises(UserError, match=message):
        look(tmp_path)


def test_broken_ones_are_left_out_if_asked(tmp_path):
    save(pairs_of(tmp_path) / 'masks/2.png', class_map(0, 3, (80, 56)))
    assert look(tmp_path, leave_out=True).names == ['class 0', 'class 1', 'class 2']


def test_values_to_ignore_that_are_not_there(tmp_path):
    with pytest.raises(UserError, match=r'9 is in no label map \| --ignore \| choose from \[0, 1, 2\]'):
        look(pairs_of(tmp_path), ignore=[9])


@pytest.mark.parametrize('text, message', [
    ('cat\ncat\n', "'cat' and 'cat' have the name 'cat'"),
    ('cat 1 2 3\ndog 1 2 3\n', r"'cat' and 'dog' have the colour \(1, 2, 3\)"),
    ('cat 1 2 3\ndog\n', "the line 'dog' has no colour, and others have"),
    ('cat\n', 'it names 1 classes'),
])
def test_names(text, message, tmp_path):
    (tmp_path / 'classes.txt').write_text(text)
    with pytest.raises(UserError, match=message):
        read_class_names(tmp_path / 'classes.txt')


@pytest.mark.parametrize('text, names', [
    ('64 128 64\tAnimal\n192 0 128\t\tArchway\n', [('Animal', (64, 128, 64), None), ('Archway', (192, 0, 128), None)]),  # CamVid
    ('# label:color_rgb:parts:actions\nroad:128,64,128::\nbackground:0,0,0::\n',
     [('road', (128, 64, 128), None), ('background', (0, 0, 0), None)]),  # CVAT
    ('#ff0000 red roof\n#0000ff, lake 2\n', [('red roof', (255, 0, 0), None), ('lake 2', (0, 0, 255), None)]),
    ('7 road\n11: side walk\n', [('road', None, 7), ('side walk', None, 11)]),
    ('road\nzone 30\n', [('road', None, None), ('zone 30', None, None)]),
])
def test_names_as_programs_write_them(text, names, tmp_path):
    (tmp_path / 'classes.txt').write_text(text)
    assert [(item.name, item.colour, item.value) for item in read_class_names(tmp_path / 'classes.txt')] == names


def test_fewer_names_than_values(tmp_path):
    (tmp_path / 'classes.txt').write_text('sky\nroad\n')
    with pytest.raises(UserError, match=r'3 values of label maps, from 0 to 2, for 2 names .* \| .*--ignore 2 or --ignore 0'):
        look(pairs_of(tmp_path), read_class_names(tmp_path / 'classes.txt'))
    assert look(tmp_path, read_class_names(tmp_path / 'classes.txt'), ignore=[0]).values == {0: 255, 1: 0, 2: 1}
