"""Labels are looked at before the first step: what no label map holds, and what is ignored."""
import logging

import numpy as np
import pytest
import tifffile
from mmengine.dataset import ConcatDataset
from mmengine.registry import DefaultScope, init_default_scope
from mmseg.datasets import BaseSegDataset
from PIL import Image

from nepa_mm.datasets import SeededDataset
from nepa_mm.datasets.tiff_windows import TiffWindows
from nepa_mm.engine.checks import label_survey
from nepa_mm.engine.checks.check_seg_inputs_hook import look_at_labels
from nepa_mm.engine.checks.label_survey import LabelSurvey, loader_of, survey
from nepa_mm.errors import DataError

KEY = 'train_dataloader.dataset'


@pytest.fixture(autouse=True)
def scope():
    init_default_scope('mmseg')
    yield
    DefaultScope._instance_dict.clear()


@pytest.fixture
def dataset(tmp_path):
    """Makes a dataset of label maps with these values, two rows each."""
    def make(*maps, classes=('background', 'road'), values=None, name='a', **facts):
        for i, numbers in enumerate(maps):
            for kind in ('images', 'labels'):
                (tmp_path / name / kind).mkdir(parents=True, exist_ok=True)
                Image.fromarray(np.array([numbers] * 2, np.uint8), 'L').save(tmp_path / name / kind / f'{i}.png')
        load = dict(type='nepa_mm.LoadSegAnnotations', values=values)
        augment = dict(type='TestTimeAug', transforms=[[dict(type='RandomFlip', prob=0.)], [load]])
        return BaseSegDataset(
            data_root=str(tmp_path / name), data_prefix=dict(img_path='images', seg_map_path='labels'), img_suffix='.png',
            metainfo=dict(classes=list(classes)), pipeline=[dict(type='LoadImageFromFile'), augment], **facts)
    return make


def test_two_values_of_which_one_is_ignored_are_refused(dataset):
    with pytest.raises(DataError) as error:
        look_at_labels(SeededDataset(dataset([0, 255, 0, 0], [0, 0, 0, 0]), seed=0), KEY, {255, 5}, logging.getLogger())
    assert str(error.value) == (
        "1 of 2 classes, 'road', in none of the 2 label maps; 12.5 % of the pixels of the 2 label maps ignored, labels [255] | "
        f"{KEY} | if 255 means 'road', say so in each pipeline: dict(type='nepa_mm.LoadSegAnnotations', values={{255: 1}})")
    mapped = survey(dataset([0, 255, 0, 0], [0, 0, 0, 0], values={255: 1}))
    assert mapped.said() is None and mapped.pixels[:2].tolist() == [14, 2]


@pytest.mark.parametrize('maps, classes, level, said', [
    ([[0, 1, 255]], 'ab', None, None),
    ([[0, 0]], 'ab', 'WARNING', "1 of 2 classes, 'b', in none of the 1 label maps | leave these classes out, or look for"),
    ([[0, 1, 255, 255]], 'ab', 'WARNING', '50.0 % of the pixels of the 1 label maps ignored, labels [255] | look at a label map'),
    ([[0, 0, 7]], 'ab', None, None),  # 7 is no label, and another check names the file
    ([[0, 1, 5]] * 3, 'abcd', 'WARNING', "2 of 4 classes, 'c', 'd', in none of the 3 label maps; 33.3 % of"),
])
def test_what_is_strange_is_said(maps, classes, level, said, dataset, caplog):
    caplog.set_level('INFO')
    look_at_labels(dataset(*maps, classes=classes), KEY, {255, 5}, logging.getLogger())
    assert [record.levelname for record in caplog.records] == ([level] if level else [])
    assert said is None or caplog.records[0].message.startswith(f'{KEY}: {said}')


def test_of_many_label_maps_a_part_is_looked_at_and_all_where_only_one_class_is_seen(dataset, caplog, monkeypatch):
    caplog.set_level('INFO')
    monkeypatch.setattr(label_survey, 'LOOKED_AT', 2)
    many = dataset(*[[0, 1, 2]] * 5, classes='abcd')
    assert survey(many).maps == 2
    look_at_labels(many, KEY, {255, 5}, logging.getLogger())
    assert caplog.records[0].levelname == 'INFO' and "1 of 4 classes, 'd', in none of 2 label maps looked at of 5" in caplog.text
    rare = survey(dataset(*[[0, 255]] * 8, [0, 1], name='c'))
    assert 2 < rare.maps <= 9 and not rare.absent  # until the other class is seen
    monkeypatch.setattr(label_survey, 'PIXELS', 3)
    assert survey(many).maps == 1


def test_several_datasets_are_one_and_others_none(dataset):
    one, other = dataset([0, 0], name='a'), dataset([1, 1], name='b')
    assert survey(ConcatDataset([one, other])).said() is None
    assert survey(BaseSegDataset(lazy_init=True)) is None
    assert loader_of(BaseSegDataset(lazy_init=True)) is None


def test_a_label_map_that_cannot_be_read_is_left_out_where_a_training_does_so(dataset, tmp_path):
    bad = dataset([0, 1], [0, 1])
    (tmp_path / 'a/labels/1.png').write_bytes(b'none')
    assert survey(bad, tolerant=True).maps == 1
    with pytest.raises(DataError, match='cannot be read as a label map'):
        survey(bad)


def test_the_palette_of_the_dataset_is_known_to_what_loads_its_labels(dataset):
    data = dataset([0, 1])
    look_at_labels(data, KEY, {255, 5}, logging.getLogger())
    assert loader_of(data).palette == data.metainfo['palette']


def test_nothing_is_said_of_no_label_map():
    assert LabelSurvey('ab', 0).said() is None


def test_pixels_are_counted_in_parts(tmp_path, monkeypatch):
    labels = np.random.default_rng(0).integers(0, 9, (61, 37), np.uint8)
    tifffile.imwrite(tmp_path / 'a.tif', labels, photometric='minisblack', tile=(16, 16))
    monkeypatch.setattr(label_survey, 'ROWS', 37 * 7)
    for given in (labels, TiffWindows(tmp_path / 'a.tif')):
        np.testing.assert_array_equal(label_survey.pixels_of(given), np.bincount(labels.ravel(), minlength=256))
