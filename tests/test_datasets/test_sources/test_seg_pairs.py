"""A list of images and label maps that are named otherwise."""
import numpy as np
import pytest
import tifffile
from mmengine.registry import DATASETS

from nepa_mm.datasets import CutWindow, LoadImage, LoadSegAnnotations
from nepa_mm.errors import DataError


def test_pairs_in_the_order_of_the_list(tmp_path, monkeypatch):
    for name in ('b.jpg', 'a.jpg', 'one.png', 'two.png'):
        (tmp_path / name).touch()
    path = tmp_path / 'list.txt'
    path.write_text('b.jpg\tone.png\na.jpg\ttwo.png\n')
    config = dict(type='nepa_mm.SegPairs', data_root=str(tmp_path), ann_file=str(path), metainfo=dict(classes=['x', 'y']))
    with monkeypatch.context() as patch:  # no file is asked for: a million of them take long on a network
        patch.setattr('os.path.isfile', None)
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


def test_windows_are_alike_and_together_the_image_and_its_labels(tmp_path):
    image = np.random.default_rng(0).integers(0, 256, (97, 130, 3), np.uint8)
    tifffile.imwrite(tmp_path / 'a.tif', image, photometric='rgb', tile=(16, 16))
    tifffile.imwrite(tmp_path / 'b.tif', image[..., 0] % 5, photometric='minisblack', tile=(16, 16))
    (tmp_path / 'list.txt').write_text('a.tif\tb.tif\n')
    config = dict(type='nepa_mm.SegPairs', data_root=str(tmp_path), ann_file=str(tmp_path / 'list.txt'),
                  metainfo=dict(classes=['x', 'y']))
    data = DATASETS.build(dict(config, window=32))
    assert len(data) == 4 * 5
    seen, pixels, labels = np.zeros((97, 130), int), np.zeros_like(image), np.zeros((97, 130), np.uint8)
    for index in range(len(data)):
        found = data.get_data_info(index)
        for step in (LoadImage(whole=False), LoadSegAnnotations(whole=False), CutWindow()):
            found = step.transform(found)
        top, bottom, left, right = found['window']
        assert found['ori_shape'] == found['img_shape'] == (bottom - top, right - left)
        assert bottom - top in (24, 25) and right - left == 26
        seen[top:bottom, left:right] += 1
        pixels[top:bottom, left:right], labels[top:bottom, left:right] = found['img'][..., ::-1], found['gt_seg_map']
    assert (seen == 1).all() and (pixels == image).all() and (labels == image[..., 0] % 5).all()
    assert len(DATASETS.build(config)) == 1
    (tmp_path / 'a.jpg').touch()
    (tmp_path / 'list.txt').write_text('a.jpg\tb.tif\n')
    with pytest.raises(DataError, match=r"no TIFF, and window=32 takes images in windows \| img_path='.*a.jpg'"):
        DATASETS.build(dict(config, window=32))
