"""Ours beside mmseg's own under one seed: pixels, labels, random numbers."""
import cv2
import mmseg.datasets.transforms as theirs
import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.dataset import Compose
from mmengine.registry import DefaultScope, init_default_scope

from nepa_mm.datasets import PackSegInputs, PhotoMetricDistortion, RandomCrop
from tiny import ROOT

SIZES = [(64, 64), (61, 83), (90, 47), (40, 130)]  # H, W
DATASETS = ['ade20k_512', 'camvid_224', 'camvid_512', 'cityscapes_512x1024', 'voc12aug_512']
FASTER = ('PackSegInputs', 'PhotoMetricDistortion', 'RandomCrop')


@pytest.fixture(autouse=True)
def scope():
    init_default_scope('mmseg')
    yield
    DefaultScope._instance_dict.clear()


def smooth(size, seed) -> np.ndarray:
    """An image BGR [H, W, 3] of all colours."""
    few = np.random.default_rng(seed).integers(0, 256, (5, 6, 3), np.uint8)
    return cv2.resize(few, size[::-1], interpolation=cv2.INTER_CUBIC)


def label_maps(size) -> dict[str, np.ndarray]:
    """By what is in them, uint8 [H, W]."""
    number = np.random.default_rng(0)
    blocks = cv2.resize(number.integers(0, 5, (4, 5), np.uint8), size[::-1], interpolation=cv2.INTER_NEAREST)
    bordered, mostly = np.full(size, 255, np.uint8), np.full(size, 7, np.uint8)
    bordered[20:-20, 15:-15] = blocks[20:-20, 15:-15]
    mostly[:, -size[1] // 4:] = 3
    two_and_none = np.where(blocks > 2, 255, np.where(blocks > 1, 0, 1)).astype(np.uint8)
    return dict(blocks=blocks, bordered=bordered, mostly=mostly, two_and_none=two_and_none, one=np.full(size, 9, np.uint8),
                none=np.full(size, 255, np.uint8), noise=number.integers(0, 256, size, np.uint8))


def both(ours, other, results: dict, seed: int) -> tuple[dict, dict]:
    """What each makes of the same, after which both have drawn the same random numbers."""
    made = []
    for transform in (ours, other):
        np.random.seed(seed)
        made.append(transform({**results, 'img': results['img'].copy()}))
        made[-1]['next'] = np.random.random()
    assert made[0].keys() == made[1].keys() and made[0]['next'] == made[1]['next']
    return made[0], made[1]


@pytest.mark.parametrize('settings', [
    dict(cat_max_ratio=0.75), dict(cat_max_ratio=0.3), dict(cat_max_ratio=0.75, ignore_index=0), dict(),
    dict(cat_max_ratio=0.75, ignore_index=300),
])
@pytest.mark.parametrize('size', SIZES)
def test_crops_are_mmsegs(size, settings):
    ours, other = (kind(crop_size=(40, 44), **settings) for kind in (RandomCrop, theirs.RandomCrop))
    crops = set()
    for name, labels in label_maps(size).items():
        for dtype in (np.uint8, np.int64):
            for seed in range(8):
                results = dict(img=smooth(size, seed), gt_seg_map=labels.astype(dtype), seg_fields=['gt_seg_map'])
                mine, expected = both(ours, other, results, seed)
                for key in ('img', 'gt_seg_map'):
                    np.testing.assert_array_equal(mine[key], expected[key], err_msg=name)
                assert mine['img_shape'] == expected['img_shape'] and mine['gt_seg_map'].dtype == dtype
                crops.add(mine['next'])
    assert len(crops) > 8 or size[0] <= 40 or 'cat_max_ratio' not in settings  # some crops were drawn more often than others


@pytest.mark.parametrize('share, is_mixed', [(0.74, True), (0.75, False), (1, False)])
def test_a_class_that_covers_just_too_much(share, is_mixed):
    labels = np.zeros((10, 10), np.uint8)
    labels.ravel()[round(100 * share):] = 1
    crop = RandomCrop(crop_size=10, cat_max_ratio=0.75)
    assert crop.is_mixed(labels) == crop.is_mixed(labels.astype(int)) == is_mixed


@pytest.mark.parametrize('size', SIZES)
@pytest.mark.parametrize('view', ['plain', 'mirrored', 'upside_down', 'rgb', 'cut'])
def test_colours_are_mmsegs(view, size):
    views = dict(
        plain=lambda img: img, mirrored=lambda img: np.flip(img, 1), upside_down=lambda img: np.flip(img, 0),
        rgb=lambda img: img[..., ::-1], cut=lambda img: img[3:-2, 5:-4])
    ours, other, changed = PhotoMetricDistortion(), theirs.PhotoMetricDistortion(), 0
    for seed in range(40):
        whole = smooth(size, seed)
        made = []
        for transform in (ours, other):
            np.random.seed(seed)
            made.append((transform(dict(img=views[view](whole.copy())))['img'], np.random.random()))
        (mine, drawn), (expected, expected_drawn) = made
        np.testing.assert_array_equal(mine, expected)
        assert mine.dtype == np.uint8 and drawn == expected_drawn
        changed += not np.array_equal(mine, views[view](whole))
    assert 30 < changed <= 40


def test_colours_of_floats_are_mmsegs():
    for seed in range(20):
        results = dict(img=smooth((20, 30), seed).astype(np.float32) / 255)
        mine, expected = both(PhotoMetricDistortion(), theirs.PhotoMetricDistortion(), results, seed)
        np.testing.assert_array_equal(mine['img'], expected['img'])


@pytest.mark.parametrize('mirrored', [False, True])
@pytest.mark.parametrize('dtype', [np.uint8, np.float32])
@pytest.mark.parametrize('channels', [None, 1, 3, 4])
def test_packed_is_what_mmseg_packs(channels, dtype, mirrored):
    img = np.random.default_rng(0).integers(0, 256, (21, 33) + ((channels, ) if channels else ())).astype(dtype)[2:-3, 4:]
    img = np.flip(img, 1) if mirrored else img
    facts = dict(gt_seg_map=label_maps((64, 64))['noise'][1:17, 2:31], gt_edge_map=np.ones((16, 29), np.uint8), img_path='a.jpg',
                 ori_shape=(16, 29), flip=mirrored, reduce_zero_label=True, unknown=1)
    mine, expected = (kind()(dict(facts, img=img)) for kind in (PackSegInputs, theirs.PackSegInputs))
    assert mine.keys() == expected.keys() and torch.equal(mine['inputs'], expected['inputs'])
    assert mine['inputs'].dtype == expected['inputs'].dtype and mine['inputs'].is_contiguous()
    ours, other = mine['data_samples'], expected['data_samples']
    assert ours.metainfo == other.metainfo and set(ours.keys()) == set(other.keys())
    assert ours.gt_sem_seg.data.dtype == torch.uint8 and torch.equal(ours.gt_sem_seg.data.long(), other.gt_sem_seg.data)
    assert torch.equal(ours.gt_edge_map.data, other.gt_edge_map.data)


@pytest.mark.parametrize('labels', [np.arange(300, 312).reshape(3, 4), np.ones((3, 4, 1), np.uint8), None])
def test_other_labels_are_packed_as_mmseg_does(labels, recwarn):
    facts = {} if labels is None else dict(gt_seg_map=labels)
    mine, expected = (kind()(facts)['data_samples'] for kind in (PackSegInputs, theirs.PackSegInputs))
    assert ('gt_sem_seg' in mine) == (labels is not None)
    if labels is not None:
        assert mine.gt_sem_seg.data.dtype == torch.int64 and torch.equal(mine.gt_sem_seg.data, expected.gt_sem_seg.data)


@pytest.mark.parametrize('name', DATASETS)
@pytest.mark.parametrize('layout', ['JPEG', 'PNG'])  # by torchvision, whose channels lie apart, and by Pillow
def test_a_whole_pipeline_gives_mmsegs_samples(layout, name, tmp_path):
    cfg = Config.fromfile(ROOT / f'configs/_base_/datasets/{name}.py')
    steps = [dict(step) for step in cfg.train_pipeline]
    for step in steps:  # an eighth of the sizes
        step.update({key: tuple(side // 8 for side in step[key]) for key in ('scale', 'crop_size') if key in step})
    replaced = [dict(step, type=step['type'].removeprefix('nepa_mm.')) if step['type'].endswith(FASTER) else step
                for step in steps]
    assert sum(new is not old for new, old in zip(replaced, steps)) == 3
    image, labels = tmp_path / f'a.{layout.lower()}', tmp_path / 'labels.png'
    cv2.imwrite(str(labels), label_maps((70, 93))['bordered'])
    cv2.imwrite(str(image), smooth((70, 93), 1))
    info = dict(img_path=str(image), seg_map_path=str(labels), reduce_zero_label=name.startswith('ade'), label_map=None)
    ours, other = Compose(steps), Compose(replaced)
    for seed in range(25):
        made = []
        for pipeline in (ours, other):
            np.random.seed(seed)
            made.append(pipeline(dict(info, seg_fields=[])))
        mine, expected = made
        assert torch.equal(mine['inputs'], expected['inputs'])
        assert mine['data_samples'].metainfo == expected['data_samples'].metainfo
        assert torch.equal(mine['data_samples'].gt_sem_seg.data.long(), expected['data_samples'].gt_sem_seg.data)
