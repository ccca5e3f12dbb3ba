"""Which images and label maps are of which split, and how mmseg's dataset finds them."""
import pytest
from drawn_data import image

from nepa_mm.own_data.mask_pairs import find_pairs, layout_of


def draw(root, *names):
    for name in names:
        image(root / f'images/{name}.png')
        image(root / f'masks/{name}.png', channels=1)


def splits_of(root):
    found = find_pairs(root, 0.5, 0)
    return {split: [str(path.relative_to(root / 'images')) for path, _ in pairs] for split, pairs in found.splits.items()}, found


@pytest.mark.parametrize('lines', ['{}', 'images/{}.png masks/{}.png', '/home/me/data/images/{}.png'])
def test_lists_tell_frames_of_one_number_apart(tmp_path, lines):
    draw(tmp_path, 'a/01', 'a/02', 'b/01', 'b/02')
    for split, folder in dict(train='a', val='b').items():
        (tmp_path / f'{split}.txt').write_text(''.join(f'{lines.format(*[f"{folder}/{i}"] * 2)}\n' for i in ('01', '02')))
    assert splits_of(tmp_path)[0] == dict(train=['a/01.png', 'a/02.png'], val=['b/01.png', 'b/02.png'])


def test_names_in_lists_may_have_dots_and_blanks(tmp_path):
    draw(tmp_path, 'v1.0', 'v1.1', 'my scene', 'your scene', 'other')
    (tmp_path / 'train.txt').write_text('v1.0\nmy scene\n')
    (tmp_path / 'val.txt').write_text('v1.1.png\nyour scene.png\n')
    splits, found = splits_of(tmp_path)
    assert splits == dict(train=['my scene.png', 'v1.0.png'], val=['v1.1.png', 'your scene.png'])
    assert found.remarks == ['1 images with label maps are in no list of a split and are left out']


def test_images_without_label_maps_behind_a_link_take_lists(tmp_path):
    draw(tmp_path, '1', '2', '3', '4')
    image(tmp_path / 'store/5.png')
    (tmp_path / 'images/more').symlink_to(tmp_path / 'store')
    draw(tmp_path / 'val', '6')
    layout = layout_of(find_pairs(tmp_path, 0.5, 0))
    assert layout.names == dict(train=['1', '2', '3', '4'])
