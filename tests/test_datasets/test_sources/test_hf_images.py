"""A folder of class folders and the same images in both of Hugging Face's formats, shuffled and with its file names."""
import copy
import io
import pickle
import re
import shutil
import socket
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.dataset import DefaultSampler, default_collate
from mmengine.registry import DATASETS as MMENGINE_DATASETS
from mmengine.registry import DefaultScope, init_default_scope
from mmpretrain.datasets import CustomDataset, ImageNet
from PIL import Image
from torch.utils.data import DataLoader

from nepa_mm.datasets import HFImageDataset
from nepa_mm.errors import ConfigError, DataError
from tiny import ROOT

datasets = pytest.importorskip('datasets')
pyarrow = pytest.importorskip('pyarrow')
parquet = pytest.importorskip('pyarrow.parquet')

CLASSES = ['n00000001', 'n00000002', 'n00000003']
PIPELINE = [
    dict(type='nepa_mm.LoadImage'),
    dict(type='mmpretrain.CenterCrop', crop_size=16),
    dict(type='mmpretrain.PackInputs')]


@pytest.fixture(scope='module', autouse=True)
def cache(tmp_path_factory):
    """Parquet files are copied to Arrow files: here, not into the user's cache, and without the network."""

    connect = socket.socket.connect

    def local_only(self, address):
        assert isinstance(address, (str, bytes)), f'the network was asked for {address}'
        return connect(self, address)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(datasets.config, 'HF_DATASETS_CACHE', tmp_path_factory.mktemp('cache'))
        patch.setattr(socket.socket, 'connect', local_only)
        datasets.disable_progress_bars()
        yield
        datasets.enable_progress_bars()


def write_folders(root: Path) -> None:
    """Names of ImageNet: n00000002_104.JPEG sorts before n00000002_11.JPEG, and the longer of two with one beginning after."""
    rng = np.random.default_rng(0)
    for wnid in CLASSES:
        train, val = [f'{wnid}_{i}' for i in (11, 104, 9, 1040)], [f'ILSVRC2012_val_0000000{wnid[-1]}']
        for split, names in (('train', train), ('val', val)):
            (root / split / wnid).mkdir(parents=True)
            for name in names:
                pixels = rng.integers(0, 256, (20, 24, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(root / split / wnid / f'{name}.JPEG')


def hugging_face(folder: Path) -> datasets.Dataset:
    """The images of class folders as ``load_dataset('ILSVRC/imagenet-1k')`` gives them, in no order."""
    paths = sorted(folder.glob('*/*.JPEG'), key=lambda path: path.read_bytes())
    columns = dict(
        image=[dict(bytes=path.read_bytes(), path=f'{path.stem}_{path.parent.name}.JPEG') for path in paths],
        label=[CLASSES.index(path.parent.name) for path in paths])
    names = ['tench, Tinca', 'goldfish', 'shark']
    return datasets.Dataset.from_dict(
        columns, features=datasets.Features(image=datasets.Image(), label=datasets.ClassLabel(names=names)))


@pytest.fixture(scope='module')
def root(tmp_path_factory):
    """Folders ``images``, ``arrow`` and ``parquet``."""
    root = tmp_path_factory.mktemp('data')
    write_folders(root / 'images')
    train, val = hugging_face(root / 'images/train'), hugging_face(root / 'images/val')
    test = val.remove_columns('label').add_column('label', [-1] * len(val))
    shards = dict(train=2, validation=1, test=1)
    datasets.DatasetDict(train=train, validation=val, test=test).save_to_disk(root / 'arrow', num_shards=shards)
    (root / 'parquet/data').mkdir(parents=True)
    for i in range(2):
        train.shard(2, i).to_parquet(root / f'parquet/data/train-0000{i}-of-00002.parquet')
    val.to_parquet(root / 'parquet/data/validation-00000-of-00001.parquet')
    return root


@pytest.mark.parametrize('form', ['arrow', 'parquet'])
@pytest.mark.parametrize('split', ['train', 'val'])
def test_same_sequence_as_folders(form, split, root):
    ours = HFImageDataset(root / form, split=split, pipeline=PIPELINE)
    for theirs in (ImageNet(str(root / 'images'), split=split, pipeline=PIPELINE, classes=CLASSES),
                   CustomDataset(str(root / 'images'), data_prefix=split, pipeline=PIPELINE)):
        assert len(ours) == len(theirs) == (12 if split == 'train' else 3)
        for mine, other in zip(ours, theirs):
            assert torch.equal(mine['inputs'], other['inputs'])
            assert mine['data_samples'].gt_label == other['data_samples'].gt_label
            wnid = Path(other['data_samples'].img_path).parent.name
            assert Path(mine['data_samples'].img_path).stem == f"{Path(other['data_samples'].img_path).stem}_{wnid}"
    assert ours.get_gt_labels().tolist() == sorted(ours.get_gt_labels())
    assert ours.metainfo['classes'] == ('tench, Tinca', 'goldfish', 'shark')
    info = ours.get_data_info(0)
    assert set(info) == {'img_bytes', 'img_path', 'gt_label', 'sample_idx'} and info['img_bytes'][:2] == b'\xff\xd8'


def test_lost_names_and_images_that_were_encoded_anew_are_said_once(root, tmp_path, capsys):
    HFImageDataset(root / 'arrow')
    assert 'nepa_mm:' not in capsys.readouterr().err
    whole = datasets.load_from_disk(root / 'arrow')['train'].remove_columns('label')
    whole.map(lambda row: dict(row, width=row['image'].width)).save_to_disk(tmp_path / 'anew/train')
    undecoded = whole.cast_column('image', datasets.Image(decode=False))
    undecoded.map(lambda row: dict(row, size=len(row['image']['bytes']))).save_to_disk(tmp_path / 'kept/train')
    fine = undecoded.map(lambda row: dict(image=dict(bytes=encoded_at_95(row['image']['bytes']), path=None)))
    fine.save_to_disk(tmp_path / 'nameless/train')
    said = {}
    for name in ('anew', 'kept', 'nameless'):
        HFImageDataset(tmp_path / name, with_label=False)
        said[name] = capsys.readouterr().err
    lost = 'nepa_mm: .*: 12 of 12 images have no file name, so these come in the order of their rows, .* than from the files'
    anew = r'; 12 that were looked at are JPEG of quality 75 \([\d.]+ bytes a pixel\): .*before map\n'
    assert re.fullmatch(lost + anew, said['anew'])
    assert said['kept'] == '' and re.fullmatch(lost + r'\. Build it without decoding: .*before map\n', said['nameless'])


def encoded_at_95(content):
    file = io.BytesIO()
    Image.open(io.BytesIO(content)).save(file, 'JPEG', quality=95)
    return file.getvalue()


@pytest.mark.parametrize('form', ['arrow', 'parquet'])
def test_loader_workers_give_the_batches_of_folders(form, root):
    loaders = [
        DataLoader(dataset, 4, sampler=DefaultSampler(dataset, seed=3), num_workers=2, collate_fn=default_collate)
        for dataset in (HFImageDataset(root / form, pipeline=PIPELINE),
                        CustomDataset(str(root / 'images'), data_prefix='train', pipeline=PIPELINE))]
    count = 0
    for mine, other in zip(*loaders):
        assert torch.equal(mine['inputs'], other['inputs'])
        assert [sample.gt_label for sample in mine['data_samples']] == [sample.gt_label for sample in other['data_samples']]
        count += 1
    assert count == 3


@pytest.mark.parametrize('form', ['arrow', 'parquet'])
def test_copies_refer_to_the_files_and_indices_choose(form, root):
    dataset = HFImageDataset(root / form)
    expected = [dataset[i]['img_bytes'] for i in range(12)]
    pickled = pickle.dumps(dataset)
    assert not any(content in pickled for content in expected)
    lazy = HFImageDataset(root / form, lazy_init=True, serialize_data=False)
    for same in (pickle.loads(pickled), copy.deepcopy(dataset), lazy):
        assert [same[i]['img_bytes'] for i in range(12)] == expected
    assert [info['img_bytes'] for info in HFImageDataset(root / form, indices=[5, 2])] == [expected[5], expected[2]]
    assert dataset.get_subset([7])[0]['img_bytes'] == expected[7]


def test_without_labels_the_order_is_the_same(root):
    with_label, without = HFImageDataset(root / 'arrow'), HFImageDataset(root / 'arrow', with_label=False)
    assert [info['img_bytes'] for info in without] == [info['img_bytes'] for info in with_label]
    assert 'gt_label' not in without[0]
    assert len(HFImageDataset(root / 'arrow', split='test', with_label=False)) == 3


def test_other_columns_classes_and_a_dataset_without_split(root, tmp_path):
    hugging_face(root / 'images/train').rename_columns(dict(image='jpg', label='cls')).save_to_disk(tmp_path / 'one')
    dataset = HFImageDataset(tmp_path / 'one', split='', image_column='jpg', label_column='cls', classes=CLASSES)
    assert len(dataset) == 12 and dataset.metainfo['classes'] == tuple(CLASSES)
    nameless = datasets.Dataset.from_dict(dict(image=[dict(bytes=b'b', path=None), dict(bytes=b'a', path=None)]),
                                          features=datasets.Features(image=datasets.Image()))
    nameless.save_to_disk(tmp_path / 'two')
    dataset = HFImageDataset(tmp_path / 'two', split='', with_label=False, pipeline=PIPELINE)
    assert [dataset.get_data_info(i)['img_bytes'] for i in range(2)] == [b'b', b'a']
    with pytest.raises(DataError, match=rf"cannot be read .* \| img_path='{tmp_path}/two/row 1' \| "):
        dataset[1]


def test_an_image_in_a_file_of_its_own_is_read_there(root, tmp_path):
    path = str(root / 'images/val/n00000002/ILSVRC2012_val_00000002.JPEG')
    column = pyarrow.array([dict(bytes=None, path=path)], pyarrow.struct(dict(bytes=pyarrow.binary(), path=pyarrow.string())))
    parquet.write_table(pyarrow.table(dict(image=column)), tmp_path / 'train.parquet')  # datasets itself would embed the bytes
    dataset = HFImageDataset(tmp_path, with_label=False, pipeline=PIPELINE)
    assert dataset.get_data_info(0) == dict(img_path=path, sample_idx=0)
    assert dataset[0]['inputs'].shape == (3, 16, 16)


def test_a_command_line_turns_a_config_to_it(root):
    cfg = Config.fromfile(ROOT / 'configs/_base_/datasets/images_224.py')
    key = 'train_dataloader.dataset'
    cfg.merge_from_dict({f'{key}.type': 'nepa_mm.HFImageDataset', f'{key}.data_root': str(root / 'arrow')})
    init_default_scope('mmpretrain')
    assert MMENGINE_DATASETS.build(cfg.train_dataloader.dataset)[0]['inputs'].shape == (3, 224, 224)
    DefaultScope._instance_dict.clear()


@pytest.mark.parametrize('settings, message', [
    (dict(data_root='nowhere'), r"'nowhere' does not exist \| data_root \| "),
    (dict(data_root='images'), r"holds neither a dataset of save_to_disk nor parquet files, but \['train', 'val'\] \| "
                               r"data_root \| "),
    (dict(split='minival'), r"'arrow' has no split 'minival' \| split \| choose from \['test', 'train', 'validation'\]$"),
    (dict(image_column='img'), r"'img' is no column of data_root='arrow' split='train' \| image_column \| "
                               r"choose from \['image', 'label'\]$"),
    (dict(label_column='cls'), r"'cls' is no column of .* \| label_column \| choose from \['image', 'label'\]$"),
    (dict(image_column='label'), r"the type int64, not that of datasets.Image \| .*image_column='label' \| "),
    (dict(label_column='image'), r"the type struct.* \| .*label_column='image' \| "),
    (dict(split='test'), r"3 of 3 images have no label.* \| .*label_column='label' \| set with_label=False$"),
])
def test_errors_name_what_is_missing_and_what_there_is(settings, message, root, monkeypatch):
    monkeypatch.chdir(root)
    with pytest.raises(DataError, match=message) as error:
        HFImageDataset(**{'data_root': 'arrow', **settings})
    assert '\n' not in str(error.value)


def test_empty_incomplete_and_broken_data_are_errors(root, tmp_path):
    none = hugging_face(root / 'images/val').select([])
    for shards in (None, 1):
        none.save_to_disk(tmp_path / f'empty{shards}', num_shards=shards)
        with pytest.raises(DataError, match='holds no images'):
            HFImageDataset(tmp_path / f'empty{shards}', split='')
    shutil.copytree(root / 'parquet', tmp_path / 'parquet')
    (tmp_path / 'parquet/data/train-00001-of-00002.parquet').unlink()
    with pytest.raises(DataError, match=r"^1 parquet files like 'train-00000-of-00002.*, but their names count \[2\] \| "
                                        r".*/parquet/data \| "):
        HFImageDataset(tmp_path / 'parquet')
    (tmp_path / 'parquet/data/train-00000-of-00002.parquet').unlink()
    (tmp_path / 'parquet/data/train.parquet').write_bytes(b'PAR1')
    with pytest.raises(DataError, match=r"^split 'train' cannot be read or holds no images \(Arrow[^\n]*\) \| .* \| "
                                        r"save or download"):
        HFImageDataset(tmp_path / 'parquet')


def test_the_library_is_asked_for(root, monkeypatch):
    monkeypatch.delitem(sys.modules, 'nepa_mm.datasets.sources.hf_arrow', raising=False)
    monkeypatch.delattr('nepa_mm.datasets.sources.hf_arrow', raising=False)
    monkeypatch.setitem(sys.modules, 'datasets', None)
    with pytest.raises(ConfigError, match='pip install datasets'):
        HFImageDataset(root / 'arrow')
