"""Datasets that contradict each other, the model or their loader are refused before the first step."""
import logging
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torchvision
from mmengine.dataset import ConcatDataset, default_collate
from mmengine.registry import MODELS, DefaultScope, init_default_scope
from mmengine.runner import BaseLoop
from mmpretrain.datasets import CustomDataset
from PIL import Image
from torch import nn
from torch.utils.data import DataLoader

from nepa_mm.datasets import SeededDataset
from nepa_mm.engine import CheckDatasetsHook
from nepa_mm.engine.checks.label_names import LabelNames, check_names, label_names_in
from nepa_mm.errors import ConfigError, DataError


@pytest.fixture(autouse=True)
def scope():
    init_default_scope('mmpretrain')
    yield
    DefaultScope._instance_dict.clear()


class Loop(BaseLoop):

    def __init__(self, dataset, batch_size=1):
        self.dataloader = DataLoader(dataset, batch_size, collate_fn=default_collate)

    def run(self):
        pass


def classifier(num_classes=3, **loss):
    return MODELS.build(dict(
        type='ImageClassifier', backbone=dict(type='LeNet5', num_classes=-1),
        head=dict(type='LinearClsHead', num_classes=num_classes, in_channels=84, loss=dict(type='CrossEntropyLoss', **loss))))


def check(model=None, batch_size=1, **datasets):
    """What the hook says before a run over these datasets; the hook and the runner."""
    loops = {f'_{split}_loop': split in datasets and Loop(datasets[split], batch_size) for split in ('train', 'val', 'test')}
    runner = SimpleNamespace(model=model or classifier(), logger=logging.getLogger('datasets'), **loops)
    hook = CheckDatasetsHook()
    hook.before_run(runner)
    return hook, runner


@pytest.fixture
def folders(tmp_path):
    """Makes a dataset of folders with these names."""
    def make(*names, root='train', sizes=((8, 8), ), pipeline=(), **facts):
        for name in names:
            (tmp_path / root / name).mkdir(parents=True, exist_ok=True)
            for i, size in enumerate(sizes):
                Image.fromarray(np.zeros((*size, 3), np.uint8)).save(tmp_path / root / name / f'{i}.png')
        return CustomDataset(data_root=str(tmp_path), data_prefix=root, pipeline=[dict(type='nepa_mm.LoadImage'), *pipeline,
                                                                                   dict(type='PackInputs')], **facts)
    return make


def test_a_folder_that_validation_lacks_is_named(folders, tmp_path):
    train = SeededDataset(folders('blue', 'green', 'red'), seed=0)
    check(train=train, val=folders('blue', 'green', 'red', root='good'))
    with pytest.raises(DataError) as error:
        check(train=train, val=folders('blue', 'red', root='val'))
    assert str(error.value) == (
        f"label 1 is 'red', and 'green' in train_dataloader.dataset ('{tmp_path}/train'); 'green' is not there | "
        f"val_dataloader.dataset ('{tmp_path}/val') | give both the same folders, an empty one in validation or test where a "
        'class has no images, or list images in an ann_file, with the numbers of these')
    (tmp_path / 'val/green').mkdir()
    check(train=train, val=folders('blue', 'red', root='val'))
    check(train=train, val=folders('blue', 'green', root='last'))  # its labels are right
    (tmp_path / 'list.txt').write_text('blue/0.png 0\nred/0.png 2\n')
    check(train=train, val=folders('blue', 'red', root='val', ann_file='list.txt'))


@pytest.mark.parametrize('train, val, said', [
    ('abc', 'abd', "label 2 is 'd', and 'c' in"), ('abc', 'abcd', "label 3 is 'd', and no class in"), ('ab', 'xy', None)])
def test_other_folders(train, val, said, folders):
    datasets = dict(train=folders(*train), val=folders(*val, root='val'))
    if said is None:  # names of two kinds, which nobody can compare
        check(**datasets)
    else:
        with pytest.raises(DataError, match=f'^{said}'):
            check(classifier(4), **datasets)


def test_class_names_are_in_the_order_of_their_folders(folders, tmp_path):
    check(train=folders('blue', 'red', metainfo=dict(classes=['the blue', 'the red'])))
    with pytest.raises(DataError, match=r"^label 0 is 'red', and 'blue' in train_dataloader.dataset \('.*/train'\) \| "
                                        r"train_dataloader.dataset.metainfo.classes \| name .*, \['blue', 'red'\]$"):
        check(train=folders('blue', 'red', metainfo=dict(classes=['red', 'blue'])))


def test_names_in_the_data_of_hugging_face():
    names = SimpleNamespace(label_names=['a', 'b'], data_root='hf', metainfo=dict(classes=['b', 'a']))
    with pytest.raises(DataError, match=r"^label 0 is 'b', and 'a' in val_dataloader.dataset \('hf'\) \| .*metainfo.classes \| "):
        first, second = label_names_in(names, 'val_dataloader.dataset')
        check_names(first, second)


def test_parts_of_a_validation_without_training_labels(folders):
    bank, queries = folders('a', 'b', 'c'), folders('a', 'c', root='val')
    pretraining = nn.Linear(1, 1)
    check(pretraining, train=folders('x', 'a', root='other'), val=bank)
    with pytest.raises(DataError, match=r"label 1 is 'c', and 'b' in val_dataloader.dataset"):  # kNN's
        check(pretraining, train=bank, val=ConcatDataset([bank, queries], ignore_keys='classes'))
    unlabelled = folders('a', 'c', root='none', with_label=False)
    check(train=bank, val=unlabelled)


def test_a_test_has_the_classes_of_the_checkpoint(folders):
    hook, runner = check(test=folders('blue', 'red', root='test'))
    hook.after_load_checkpoint(runner, dict(meta=dict(dataset_meta=dict(classes=('blue', 'red')))))
    hook.after_load_checkpoint(runner, {})
    with pytest.raises(DataError, match="^label 1 is 'red', and 'green' in the checkpoint; 'green' is not there"):
        hook.after_load_checkpoint(runner, dict(meta=dict(dataset_meta=dict(classes=('blue', 'green', 'red')))))
    hook, runner = check(train=folders('blue', 'red'))
    hook.after_load_checkpoint(runner, dict(meta=dict(dataset_meta=dict(classes=('red', 'blue')))))  # other classes are learnt


def test_what_decodes_the_training_is_said_in_one_line(folders, caplog, monkeypatch):
    caplog.set_level(logging.INFO, 'datasets')
    monkeypatch.setattr(logging.getLogger('datasets'), 'propagate', True)  # which the library of that name changes
    data = folders('a', 'b', 'c')
    check(train=ConcatDataset([data, data]), val=data)
    assert caplog.messages == [f'JPEGs of the training are decoded by torchvision {torchvision.__version__}']


def test_a_name_of_two_labels_says_nothing():
    check_names(LabelNames(['crane', 'b', 'crane'], 'a', False), LabelNames(['crane', 'b', 'c'], 'b', False))


@pytest.mark.parametrize('model, message', [
    (dict(num_classes=2), r"^2, and train_dataloader.dataset \('.*'\) has 3 classes \| model.head.num_classes \| set it to 3"),
    (dict(class_weight=[1., 2.]), r'^2 weights, and model.head.num_classes=3 \| model.head.loss.class_weight \| give'),
])
def test_outputs_of_a_classifier(model, message, folders):
    check(classifier(class_weight=[1., 2., 3.]), train=folders('a', 'b', 'c'))
    check(classifier(9), train=folders('a', 'b', 'c'))
    with pytest.raises(ConfigError, match=message):
        check(classifier(**model), train=folders('a', 'b', 'c'))


def test_labels_in_a_list(folders, tmp_path):
    (tmp_path / 'list.txt').write_text('a/0.png 0\na/0.png 2\n')
    listed = folders('a', ann_file='list.txt')
    check(train=listed)
    check(nn.Linear(1, 1), train=listed)
    with pytest.raises(DataError, match=r"^'a/0.png 2' of '.*/list.txt' has a label that is not in 0 to 1, "
                                        r'.* \| train_dataloader.dataset.ann_file \| number the classes'):
        check(classifier(2), train=listed)


def test_images_of_a_batch_have_one_size(folders):
    mixed = folders('a', root='mixed', sizes=((8, 8), (8, 9), (8, 8)))
    check(val=mixed)
    check(val=folders('a', root='one', sizes=((8, 8), (8, 8))), batch_size=2)
    check(val=folders('a', root='resized', sizes=((8, 8), (8, 9)), pipeline=[dict(type='CenterCrop', crop_size=8)]), batch_size=2)
    model, state = classifier(), torch.get_rng_state()
    with pytest.raises(ConfigError, match=r'^images of 8x8 and 9x8 pixels are stacked, and have 8x8 and 9x8 behind the pipeline '
                                          r'\| val_dataloader.batch_size \| set it to 1, or resize to one size in the pipeline'):
        check(model, val=mixed, batch_size=2)
    assert torch.equal(state, torch.get_rng_state())
