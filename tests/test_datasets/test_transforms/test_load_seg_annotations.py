import cv2
import numpy as np
import pytest
from mmengine.dataset import Compose
from mmengine.registry import DefaultScope, init_default_scope

from nepa_mm.datasets import LoadSegAnnotations
from nepa_mm.errors import ConfigError, DataError


@pytest.fixture(autouse=True)
def scope():
    init_default_scope('mmseg')
    yield
    DefaultScope._instance_dict.clear()


@pytest.fixture
def pair(tmp_path):
    """An image of 6 x 4 pixels and its label map, as a dataset of mmseg gives them."""
    cv2.imwrite(str(tmp_path / 'a.jpg'), np.zeros((4, 6, 3), np.uint8))
    cv2.imwrite(str(tmp_path / 'a.png'), np.arange(24, dtype=np.uint8).reshape(4, 6))
    return dict(img_path=str(tmp_path / 'a.jpg'), seg_map_path=str(tmp_path / 'a.png'), reduce_zero_label=True,
                label_map={3: 7}, seg_fields=[])


def loaded(pair, *steps, kind='nepa_mm.LoadSegAnnotations'):
    return Compose([dict(type='LoadImageFromFile'), *steps, dict(type=kind)])({**pair, 'seg_fields': []})


@pytest.mark.parametrize('steps', [[], [dict(type='Resize', scale=(12, 8), keep_ratio=True)]])
def test_a_label_map_is_loaded_as_mmseg_does(steps, pair):
    ours, theirs = (loaded(pair, *steps, kind=kind) for kind in ('nepa_mm.LoadSegAnnotations', 'LoadAnnotations'))
    assert ours.keys() == theirs.keys() and ours['seg_fields'] == ['gt_seg_map']
    np.testing.assert_array_equal(ours['gt_seg_map'], theirs['gt_seg_map'])
    assert ours['gt_seg_map'][0].tolist() == [255, 0, 1, 2, 7, 4]


@pytest.mark.parametrize('labels, message', [
    (np.zeros((2, 3), np.uint8), r"^3x2 pixels, but img_path='.*/a.jpg' has 6x4 \| seg_map_path='.*/a.png' \| make"),
    (np.zeros((6, 4), np.uint8), r'^4x6 pixels, but .* has 6x4 \(is the image turned by its EXIF orientation\?\) \| '),
    (np.zeros((4, 6, 3), np.uint8), r"^3 channels, and a label map has one, of class numbers \| seg_map_path='.*/a.png' \| "
                                    r"write"),
    (np.zeros((4, 6, 4), np.uint8), r"^4 channels.* \| seg_map_path='.*/a.png'"),
])
@pytest.mark.parametrize('steps', [[], [dict(type='Resize', scale=(3, 2), keep_ratio=True)]])
def test_a_label_map_that_is_none_of_the_image(labels, message, steps, pair):
    cv2.imwrite(pair['seg_map_path'], labels)
    with pytest.raises(DataError, match=message):
        loaded(pair, *steps)


def test_a_file_that_is_missing_or_no_image(pair, tmp_path):
    with pytest.raises(DataError, match=r"cannot be read as a label map \(FileNotFoundError: .*\) \| seg_map_path='.*/b.png' \| "
                                        r""):
        loaded({**pair, 'seg_map_path': str(tmp_path / 'b.png')})
    content = (tmp_path / 'a.png').read_bytes()
    (tmp_path / 'a.png').write_bytes(content[:40])
    with pytest.raises(DataError, match=r"cannot be read as a label map \(\w+: .*\) \| seg_map_path='.*/a.png' \| mend") as error:
        loaded(pair)
    assert '\n' not in str(error.value)


@pytest.mark.parametrize('settings', [{}, dict(imdecode_backend='cv2'), dict(backend_args=dict(backend='local'))])
def test_labels_that_eight_bits_do_not_hold(settings, pair):
    load = LoadSegAnnotations(**settings)
    results = {**pair, 'reduce_zero_label': False, 'label_map': None}
    labels = np.arange(232, 256, dtype=np.uint16).reshape(4, 6)
    cv2.imwrite(pair['seg_map_path'], labels)
    np.testing.assert_array_equal(load({**results, 'seg_fields': []})['gt_seg_map'], labels)
    cv2.imwrite(pair['seg_map_path'], labels * 2 - 253)
    with pytest.raises(DataError, match=r"^labels \[257\], of which mmseg keeps eight bits \(.* \| seg_map_path='.*/a.png'"):
        load({**results, 'seg_fields': []})


def test_of_an_ordinary_label_map_pillow_reads_no_more_than_the_header(pair, monkeypatch):
    monkeypatch.setattr('PIL.Image.Image.load', None)
    monkeypatch.setattr('mmengine.fileio.get', None)
    assert LoadSegAnnotations().wide_labels(pair['seg_map_path']) == []


def test_inference_has_no_label_map(pair):
    del pair['seg_map_path']
    results = dict(pair)
    assert LoadSegAnnotations().transform(results) is results and results == pair


def test_labels_of_16_bits(pair, tmp_path):
    labels = np.array([0, 300, 65535, 7, 300, 0] * 4, np.uint16).reshape(4, 6)
    cv2.imwrite(pair['seg_map_path'], labels)
    pair = dict(pair, reduce_zero_label=False, label_map=None)
    step = dict(type='nepa_mm.LoadSegAnnotations', values={300: 1, 65535: 255})
    found = Compose([dict(type='LoadImageFromFile'), step])({**pair, 'seg_fields': []})
    assert found['gt_seg_map'].dtype == np.uint8 and found['seg_fields'] == ['gt_seg_map']
    assert found['gt_seg_map'][0].tolist() == [0, 1, 255, 7, 1, 0]
    with pytest.raises(DataError, match=r'labels \[65535\]'):
        Compose([dict(type='LoadImageFromFile'), dict(step, values={300: 1})])({**pair, 'seg_fields': []})


@pytest.mark.parametrize('palette', [None, [(9, 9, 9), (0, 0, 0), (200, 0, 0), (0, 0, 200)]])
def test_coloured_label_maps(pair, palette):
    from PIL import Image
    colours = np.array([(9, 9, 9), (0, 0, 0), (200, 0, 0), (0, 0, 200)], np.uint8)
    numbers = np.arange(24).reshape(4, 6) % 4
    if palette is None:
        Image.fromarray(colours[numbers]).save(pair['seg_map_path'])
    else:
        picture = Image.fromarray(numbers.astype(np.uint8))
        picture.putpalette([part for colour in palette for part in colour])
        picture.save(pair['seg_map_path'])
    step = dict(type='nepa_mm.LoadSegAnnotations', colours=[(0, 0, 0), (200, 0, 0), (0, 0, 200)])
    pair = dict(pair, reduce_zero_label=False, label_map=None, seg_fields=[])
    found = Compose([dict(type='LoadImageFromFile'), step])(dict(pair))
    assert found['gt_seg_map'].dtype == np.uint8 and found['gt_seg_map'][0].tolist() == [255, 0, 1, 2, 255, 0]
    with pytest.raises(ConfigError, match='reduce_zero_label=True or the classes of the dataset map too'):
        Compose([dict(type='LoadImageFromFile'), step])(dict(pair, reduce_zero_label=True))


@pytest.mark.parametrize('wrong, message', [
    (dict(values={70_000: 1}), 'maps 70000 to 1'),
    (dict(values={1: 256}), 'maps 1 to 256'),
    (dict(colours=[(0, 0, 300)]), r'\(0, 0, 300\) is no colour'),
    (dict(colours=[(0, 0, 3), (0, 0, 3)]), '1 colours for 2 classes'),
    (dict(colours=[(0, 0, 3)], values={1: 2}), 'beside colours'),
])
def test_values_and_colours_that_cannot_be(wrong, message):
    with pytest.raises(ConfigError, match=message):
        LoadSegAnnotations(**wrong)
