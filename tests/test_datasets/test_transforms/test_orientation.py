"""A photograph that its file says to turn, and its label map, stay together."""
import logging

import numpy as np
import pytest
from mmengine.registry import DefaultScope, init_default_scope
from mmseg.datasets import BaseSegDataset
from PIL import Image, ImageOps

from nepa_mm.datasets import LoadSegAnnotations
from nepa_mm.datasets.transforms.orientation import orientation_in, turned
from nepa_mm.engine.checks.check_seg_inputs_hook import look_at_labels
from nepa_mm.errors import ConfigError, DataError

OURS, BY_OPENCV, NOT_TURNED = (dict(type='nepa_mm.LoadImage', **settings) for settings in (
    {}, dict(imdecode_backend='cv2'), dict(color_type='color_ignore_orientation')))
SHOWN = dict(type='nepa_mm.LoadSegAnnotations', orientation='shown')


@pytest.fixture(autouse=True)
def scope():
    init_default_scope('mmseg')
    yield
    DefaultScope._instance_dict.clear()


def drawn(size):
    """Labels [H, W], of which no turn is the same."""
    labels = np.zeros(size, np.uint8)
    labels[:2, :3], labels[-1, :] = 1, 2
    return labels


@pytest.fixture
def dataset(tmp_path):
    """Makes a dataset of one image with an orientation, grey levels that are its labels times 100, and the label map."""
    def make(orientation, image_step, label_step=None, size=(6, 6), suffix='.png', label_size=None):
        exif = Image.Exif()
        exif[0x0112] = orientation
        for kind, pixels, suffix_, facts in (('images', drawn(size) * 100, suffix, dict(exif=exif)),
                                             ('labels', drawn(label_size or size), '.png', {})):
            (tmp_path / kind).mkdir(exist_ok=True)
            Image.fromarray(pixels).save(tmp_path / kind / f'a{suffix_}', **facts)
        return BaseSegDataset(
            data_root=str(tmp_path), data_prefix=dict(img_path='images', seg_map_path='labels'), img_suffix=suffix,
            metainfo=dict(classes=['a', 'b', 'c']),
            pipeline=[image_step, label_step or dict(type='nepa_mm.LoadSegAnnotations'), dict(type='PackSegInputs')])
    return make


def pair(data):
    """Labels as the image shows them, and the label map."""
    sample = data[0]
    return sample['inputs'][0].numpy() // 100, sample['data_samples'].gt_sem_seg.data[0].numpy()


@pytest.mark.parametrize('orientation', range(1, 9))
def test_pixels_are_turned_as_pillow_turns_them(orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    image = Image.fromarray(drawn((5, 7)))
    image.info['exif'] = exif.tobytes()
    np.testing.assert_array_equal(turned(drawn((5, 7)), orientation_in(image)), np.asarray(ImageOps.exif_transpose(image)))


@pytest.mark.parametrize('image_step', [OURS, BY_OPENCV, NOT_TURNED], ids=['ours', 'opencv', 'not turned'])
@pytest.mark.parametrize('orientation, size, suffix', [
    (3, (6, 6), '.png'), (6, (6, 6), '.tif'), (8, (5, 7), '.png'), (1, (5, 7), '.png')])
def test_image_and_label_map_are_turned_both_or_neither(image_step, orientation, size, suffix, dataset):
    seen, labels = pair(dataset(orientation, image_step, size=size, suffix=suffix))
    np.testing.assert_array_equal(seen, labels)
    as_stored = image_step is NOT_TURNED and suffix != '.tif'  # which Pillow always turns
    np.testing.assert_array_equal(labels, turned(drawn(size), 1 if as_stored else orientation))


def test_a_label_map_of_the_image_as_it_is_shown(dataset):
    seen, labels = pair(dataset(6, OURS, SHOWN, size=(5, 7), label_size=(7, 5)))
    assert seen.shape == (7, 5) and (labels == drawn((7, 5))).all()
    with pytest.raises(DataError, match=r'^5x7 pixels, but .* has 5x7, turned by orientation 6: the label map is that of the '
                                        r"image as it is shown \| .* \| set orientation='shown'"):
        pair(dataset(6, OURS, size=(5, 7), label_size=(7, 5)))
    with pytest.raises(DataError, match=r"the image as it is stored \| .* \| set orientation='stored'"):
        pair(dataset(6, OURS, SHOWN, size=(5, 7)))
    with pytest.raises(ConfigError, match=r"^'up' is unknown \| orientation \| choose from \['stored', 'shown'\]"):
        LoadSegAnnotations(orientation='up')


@pytest.mark.parametrize('image_step, label_step, said', [
    (OURS, None, "they and their label maps are turned | if label maps are turned already"),
    (OURS, SHOWN, 'they are turned, and their label maps are not | if label maps belong to the pixels as they are stored'),
    (dict(type='LoadImageFromFile'), None, 'they are turned, and their label maps are not | '),
    (NOT_TURNED, None, 'neither they nor their label maps are turned | '),
])
def test_what_is_turned_is_said_before_the_first_step(image_step, label_step, said, dataset, caplog):
    look_at_labels(dataset(3, image_step, label_step), 'key', {255}, logging.getLogger())
    assert caplog.messages[0].startswith(f'key: 1 of 1 images looked at carry an EXIF orientation; {said}')
    caplog.clear()
    look_at_labels(dataset(1, image_step, label_step), 'key', {255}, logging.getLogger())
    assert not caplog.messages
