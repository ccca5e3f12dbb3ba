"""A list of images and label maps that are named otherwise."""
import pytest
from mmengine.registry import DATASETS

from nepa_mm.errors import DataError


def test_pairs_in_the_order_of_the_list(tmp_path):
    for name in ('b.jpg', 'a.jpg', 'one.png', 'two.png'):
        (tmp_path / name).touch()
    path = tmp_path / 'list.txt'
    path.write_text('b.jpg\tone.png\na.jpg\ttwo.png\n')
    config = dict(type='nepa_mm.SegPairs', data_root=str(tmp_path), ann_file=str(path), metainfo=dict(classes=['x', 'y']))
    data = DATASETS.build(config)
    facts = [data.get_data_info(i) for i in range(len(data))]
    assert [(info['img_path'], info['seg_map_path']) for info in facts] == [
        (str(tmp_path / image), str(tmp_path / mask)) for image, mask in (('b.jpg', 'one.png'), ('a.jpg', 'two.png'))]
    path.write_text('b.jpg\tone.png\na.jpg\tthree.png\n')
    with pytest.raises(DataError, match=r"line 2 of '.*' names \['three.png'\]"):
        DATASETS.build(config)


def test_images_alone_in_a_test(tmp_path):
    for name in ('b.jpg', 'a.jpg', 'one.png'):
        (tmp_path / name).touch()
    path = tmp_path / 'list.txt'
    path.write_text('b.jpg\na.jpg\n')
    config = dict(type='nepa_mm.SegPairs', data_root=str(tmp_path), ann_file=str(path), metainfo=dict(classes=['x', 'y']))
    data = DATASETS.build(dict(config, test_mode=True))
    assert [data.get_data_info(i)['img_path'] for i in range(2)] == [str(tmp_path / name) for name in ('b.jpg', 'a.jpg')]
    assert 'seg_map_path' not in data.get_data_info(0)
    with pytest.raises(DataError, match=r"line 1 of '.*' names \['b.jpg'\], and not two files"):
        DATASETS.build(config)
    path.write_text('b.jpg\na.jpg\tone.png\n')
    with pytest.raises(DataError, match=r"line 1 of '.*' names \['b.jpg'\]"):
        DATASETS.build(dict(config, test_mode=True))
