"""The packed copy of a folder: the same samples in the same order, whole or not there."""
import errno
import importlib.util
import json
import pickle

import forks
import numpy as np
import pytest
import torch
from mmengine.dataset import DefaultSampler, default_collate
from mmpretrain.datasets import CustomDataset
from PIL import Image
from torch.utils.data import DataLoader

from nepa_mm.datasets import HFImageDataset
from nepa_mm.errors import ConfigError, DataError
from nepa_mm.find_images import IMAGE_SUFFIXES
from tiny import ROOT

datasets = pytest.importorskip('datasets')

TOOL = ROOT / 'tools/dataset_converters/pack_images.py'
spec = importlib.util.spec_from_file_location('pack_images', TOOL)
tool = importlib.util.module_from_spec(spec)
spec.loader.exec_module(tool)
PIPELINE = [
    dict(type='nepa_mm.LoadImage'), dict(type='nepa_mm.RandomResizedCropFlip', size=16), dict(type='nepa_mm.PackPixels')]


@pytest.fixture(scope='module')
def src(tmp_path_factory):
    """Class folders with names that sort otherwise with their suffix or folder left out, of unequal sizes."""
    src = tmp_path_factory.mktemp('data') / 'images/train'
    rng = np.random.default_rng(0)
    names = ['n2/n2_9_n00000002.JPEG', 'n2/n2_90_n00000002.JPEG', 'n1/b.tif', 'n1/a/c.png', 'n1/b/a.jpg', 'n10/x.gif', 'n1/z.JPG']
    for i, name in enumerate(names):
        (src / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (20 + i, 30, 3), dtype=np.uint8)).save(src / name)
    (src / 'n2/notes.txt').write_text('no image')
    return src


@pytest.fixture(scope='module')
def packed(src):
    """Packed by the command, to several batches and files."""
    dst = src.parents[1] / 'packed/train'
    done = forks.done(TOOL, src, dst)
    assert done.returncode == 0, done.stderr
    assert f'{dst}: 7 images of 3 classes, 0.00 GB in 1 files' in done.stdout and 'Packing 7 images' in done.stdout
    assert f"nepa_mm: '{src}': 1 of 8 files are left out, for they end as no image does (.txt 1)" in done.stderr
    return dst.parent


def contents(dataset) -> list[bytes]:
    return [dataset.get_data_info(i)['img_bytes'] for i in range(len(dataset))]


def test_same_bytes_order_labels_and_classes_as_the_folder(src, packed):
    folder = CustomDataset(str(src), extensions=IMAGE_SUFFIXES)
    dataset = HFImageDataset(packed, split='train')
    assert contents(dataset) == [open(info['img_path'], 'rb').read() for info in folder]
    assert dataset.get_gt_labels().tolist() == folder.get_gt_labels().tolist()
    assert dataset.metainfo['classes'] == folder.metainfo['classes'] == ('n1', 'n10', 'n2')
    assert contents(HFImageDataset(packed, with_label=False)) == contents(dataset)
    # Hugging Face's own library reads it too.
    assert datasets.load_from_disk(str(packed / 'train'))[2]['image'].size == (30, 24)


def test_several_batches_and_files_hold_the_same(src, packed, tmp_path, monkeypatch):
    monkeypatch.setattr(tool, 'BATCH', 3000)
    monkeypatch.setattr(tool, 'BATCHES', 2)
    tool.pack(src, tmp_path / 'train')
    assert len(list((tmp_path / 'train').glob('data-*.arrow'))) > 1
    one, other = HFImageDataset(packed), HFImageDataset(tmp_path)
    assert contents(one) == contents(other) and one.get_gt_labels().tolist() == other.get_gt_labels().tolist()


def batches(dataset, num_workers: int, start: str) -> list[torch.Tensor]:
    loader = DataLoader(
        pickle.loads(pickle.dumps(dataset)), 3, sampler=DefaultSampler(dataset, seed=3), num_workers=num_workers,
        collate_fn=default_collate, multiprocessing_context=start, generator=torch.Generator().manual_seed(5))
    return [batch['inputs'] for batch in loader]


def test_workers_give_the_batches_of_the_folder(src, packed):
    dataset = HFImageDataset(packed, with_label=False, pipeline=PIPELINE)
    folder = CustomDataset(str(src), extensions=IMAGE_SUFFIXES, pipeline=PIPELINE)
    for one, other in zip(batches(dataset, 2, 'fork'), batches(folder, 2, 'fork'), strict=True):
        assert torch.equal(one, other)
    for one, other in zip(batches(dataset, 1, 'spawn'), batches(folder, 1, 'fork'), strict=True):
        assert torch.equal(one, other)


def test_images_without_classes(src, tmp_path):
    tool.pack(src / 'n1/b', tmp_path / 'train')
    dataset = HFImageDataset(tmp_path, with_label=False)
    assert contents(dataset) == [(src / 'n1/b/a.jpg').read_bytes()]
    with pytest.raises(DataError, match=r"'label' is no column of .* \| label_column"):
        HFImageDataset(tmp_path)


def left(folder) -> list:
    return [path for path in folder.rglob('*') if path.is_file()]


def test_what_cannot_be_packed_leaves_nothing(src, tmp_path, monkeypatch):
    (tmp_path / 'there').mkdir()
    with pytest.raises(ConfigError, match=r"^it exists and would be written over \| .*there \| remove it or choose"):
        tool.pack(src, tmp_path / 'there')
    with pytest.raises(DataError, match=r"none' is no folder \| SRC"):
        tool.pack(tmp_path / 'none', tmp_path / 'train')
    with pytest.raises(DataError, match=r"there' holds no image \| SRC \| .*known: .jpg, .jpeg, .png, .webp, ...$"):
        tool.pack(tmp_path / 'there', tmp_path / 'train')
    (tmp_path / 'images').mkdir()
    (tmp_path / 'images/a.jpg').touch()
    (tmp_path / 'images/a').mkdir()
    with pytest.raises(DataError, match="images' holds 1 images beside its folders, such as 'a.jpg', which are of no "):
        tool.pack(tmp_path / 'images', tmp_path / 'train')
    (tmp_path / 'images/a').rmdir()
    with pytest.raises(DataError, match=r"^it is empty \| img_path='.*a.jpg' \| mend the file or take it out of the folder$"):
        tool.pack(tmp_path / 'images', tmp_path / 'train')

    def full(*args):
        raise OSError(errno.ENOSPC, 'No space left on device')

    def interrupted(content):
        raise KeyboardInterrupt

    count = iter(range(99))
    for name, replacement, kind, message in (
            ('write_shard', full, DataError, r'cannot be packed \(OSError: \[Errno 28\] No space left on device\) \| .*/train'),
            ('crc32', lambda content: next(count), DataError, r'read back otherwise \| .* \| look at the disk and pack again$'),
            ('crc32', interrupted, KeyboardInterrupt, '')):
        with monkeypatch.context() as patch, pytest.raises(kind, match=message) as error:
            patch.setattr(tool, name, replacement)
            tool.pack(src, tmp_path / 'train')
        assert '\n' not in str(error.value)
    assert [path.name for path in left(tmp_path)] == ['a.jpg'] and not (tmp_path / 'train').exists()


@pytest.mark.parametrize('damage, message', [
    (lambda folder: (folder / 'data-00000.arrow').unlink(), r'cannot be read or holds no images \(FileNotFoundError: '),
    (lambda folder: (folder / 'data-00000.arrow').write_bytes((folder / 'data-00000.arrow').read_bytes()[:9000]),
     r'cannot be read or holds no images \(OSError: Expected to be able to read'),
    (lambda folder: (folder / 'data-00000.arrow').write_bytes(b'other'), r'cannot be read or holds no images \(Arrow'),
    (lambda folder: (folder / 'state.json').unlink(), 'holds neither a dataset of save_to_disk nor parquet files, but '),
    (lambda folder: (folder / 'dataset_info.json').write_text('{'), r'cannot be read or holds no images \(JSONDecodeError'),
])
def test_a_damaged_copy_is_one_line(damage, message, packed, tmp_path):
    folder = tmp_path / 'train'
    folder.mkdir()
    for path in (packed / 'train').iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    damage(folder)
    with pytest.raises(DataError, match=message) as error:
        HFImageDataset(tmp_path)
    assert '\n' not in str(error.value)
    assert json.loads((packed / 'train/state.json').read_text())['_split'] is None
