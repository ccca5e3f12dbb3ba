"""Pixels of timm, through an mm pipeline on JPEG files."""
import random

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.dataset import Compose
from mmengine.registry import DefaultScope, init_default_scope
from mmpretrain.datasets import PackInputs
from PIL import Image
from timm.data import create_transform
from torchvision import transforms

from nepa_mm.datasets import PackTimm, TimmTransform, collate_and_hold
from nepa_mm.errors import ConfigError
from nepa_mm.models import TimmDataPreprocessor
from tiny import ROOT

NORMAL = dict(mean=[0.5] * 3, std=[0.5] * 3)
TRAIN = dict(input_size=224, is_training=True, auto_augment='rand-m9-mstd0.5-inc1', interpolation='bicubic', re_prob=0.25,
             re_mode='pixel', re_count=1, **NORMAL)


def normalized(packed: dict) -> torch.Tensor:
    """The model's input [3, H, W] of an image, after the collation and the data_preprocessor of the fine-tuning configs."""
    return TimmDataPreprocessor()(collate_and_hold([packed]))['inputs'][0]


@pytest.fixture
def pipelines():
    """Of the fine-tuning configs: training, evaluation of base and large."""
    init_default_scope('mmpretrain')
    base, large = (Config.fromfile(ROOT / f'configs/classification/nepa_vit-{name}_in1k.py') for name in (
        'base-p14_8xb128-coslr-100e', 'large-p14_8xb128-coslr-50e'))
    assert base.train_dataloader == large.train_dataloader
    yield [Compose(loader.dataset.pipeline) for loader in (base.train_dataloader, base.test_dataloader, large.test_dataloader)]
    DefaultScope._instance_dict.clear()


@pytest.fixture
def photo(tmp_path):
    """A JPEG of smooth colours and noise, 320 x 260."""
    x, y = np.meshgrid(np.linspace(0, 255, 320), np.linspace(0, 255, 260))
    pixels = np.stack([x, y, 255 - x], axis=-1) + np.random.default_rng(0).normal(0, 20, (260, 320, 3))
    path = tmp_path / 'photo.jpg'
    Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(path, quality=90)
    return str(path)


def test_the_strongest_posterize_is_black():
    """Level 10 of RandAugment, where the drawn one is cut off, keeps 4 - 4 bits."""
    kwargs = {**TRAIN, 'auto_augment': 'rand-m10-inc1'}
    ops = [op for op in TimmTransform(**kwargs).timm.transforms[2].ops if op.name == 'PosterizeIncreasing']
    ops[0].prob = 1.
    for mode, zero in (('RGB', (0, 0, 0)), ('L', 0)):
        assert ops[0](Image.new(mode, (4, 3), 255)).getcolors() == [(12, zero)]
    ops[0].magnitude = 5
    assert ops[0](Image.new('RGB', (1, 1), (255, 200, 3))).getpixel((0, 0)) == (0b11000000, ) * 2 + (0, )


def seed(value: int) -> None:
    random.seed(value)
    np.random.seed(value)
    torch.manual_seed(value)


def test_training_pixels_are_timms_and_random_numbers_stay_in_step(pipelines, photo):
    timm = create_transform(**TRAIN)
    erased = set()
    for value in range(20):
        seed(value)
        packed = pipelines[0](dict(img_path=photo, gt_label=3))
        after = random.random(), np.random.rand(), torch.rand(1)
        seed(value)
        expected = timm(Image.open(photo).convert('RGB'))
        assert packed['inputs'].dtype == torch.uint8
        assert torch.equal(normalized(packed), expected)
        assert after == (random.random(), np.random.rand(), torch.rand(1))
        erased.add(bool((expected.abs() > 1).any()))  # only erasing, with normal noise, leaves [-1, 1]
    assert erased == {True, False}
    assert packed['data_samples'].img_shape == (224, 224)
    assert packed['data_samples'].gt_label == 3


@pytest.mark.parametrize('policy', [
    'AutoContrast', 'Equalize', 'Invert', 'Rotate', 'PosterizeIncreasing', 'SolarizeIncreasing', 'SolarizeAdd', 'ColorIncreasing',
    'ContrastIncreasing', 'BrightnessIncreasing', 'SharpnessIncreasing', 'ShearX', 'ShearY', 'TranslateXRel', 'TranslateYRel'])
def test_each_policy(policy, photo):
    """The recipe's 15, each alone: with the same magnitude and always applied."""
    settings = dict(is_training=True, input_size=64, interpolation='bicubic', auto_augment='rand-m9-mstd0.5-inc1', **NORMAL)
    ours, timm = TimmTransform(**settings), create_transform(**settings)
    for transform in (ours.timm, timm):
        augment = transform.transforms[2]
        assert len(augment.ops) == 15
        augment.ops = [op for op in augment.ops if op.name == policy] * 2
        augment.ops[0].prob = 1.
    image = Image.open(photo).convert('RGB')
    seed(1)
    result = ours(dict(img=np.array(image)[..., ::-1]))['img']
    seed(1)
    assert torch.equal(PackInputs.format_input(result), timm(image))


def test_evaluation_pixels_are_the_releases(pipelines, photo):
    """Its large model sees the whole image squashed to a square, whose centre is cut out."""
    for pipeline, size in zip(pipelines[1:], (256, (235, 235)), strict=True):
        expected = transforms.Compose([
            transforms.Resize(size, transforms.InterpolationMode.BICUBIC), transforms.CenterCrop(224), transforms.ToTensor(),
            transforms.Normalize(**NORMAL)])(Image.open(photo).convert('RGB'))
        assert torch.equal(normalized(pipeline(dict(img_path=photo))), expected)


def test_a_flip_and_its_absence_both_occur(photo):
    image = Image.open(photo).convert('RGB')
    transform = TimmTransform(is_training=True, input_size=224, scale=(1., 1.), color_jitter=None, **NORMAL)
    left = {bool(transform(dict(img=image))['img'][:, :20, 0].mean() > 0) for _ in range(20)}
    assert left == {True, False}  # red grows to the right


@pytest.mark.parametrize('crop_pct, edge', [(0.875, 256), (0.95, 235)])
def test_crop_pct_is_timms(crop_pct, edge, photo):
    transform = TimmTransform(is_training=False, input_size=224, crop_pct=crop_pct, interpolation='bicubic', **NORMAL)
    assert transform.timm.transforms[0].size == edge
    image = Image.open(photo).convert('RGB')
    from_array = transform(dict(img=np.array(image)[..., ::-1]))
    assert from_array['img_shape'] == (224, 224) and from_array['img'].shape == (224, 224, 3)
    np.testing.assert_array_equal(from_array['img'], transform(dict(img=image))['img'])
    assert torch.equal(PackInputs.format_input(from_array['img']), transform.timm(image))


def test_unknown_arguments_are_named():
    with pytest.raises(ConfigError, match=r"^0.25 is for no argument .* \| TimmTransform.re_probe \| choose from \[.*'re_prob'"):
        TimmTransform(re_probe=0.25)
    with pytest.raises(ConfigError, match=r'^True is for no argument .* \| TimmTransform.separate'):
        TimmTransform(separate=True)


@pytest.mark.parametrize('settings', [dict(normalize=False), dict(use_prefetcher=True), dict(patchify=True)])
def test_the_device_does_what_timm_ends_in_and_nothing_else(settings):
    with pytest.raises(ConfigError, match=r'^on_device=True leaves ToTensor, .* \| TimmTransform.on_device'):
        TimmTransform(is_training=True, on_device=True, **settings)


@pytest.mark.parametrize('settings', [
    dict(TRAIN), dict(TRAIN, re_prob=1., re_mode='rand', re_count=3), dict(TRAIN, re_prob=1., re_mode='const'),
    dict(TRAIN, interpolation='random', input_size=(3, 40, 56)), dict(TRAIN, auto_augment=None, vflip=0.5),
    dict(TRAIN, auto_augment='augmix-m5', scale=(0.9, 1.)), dict(TRAIN, train_crop_mode='rkrc'), dict(TRAIN, no_aug=True),
    dict(input_size=48, crop_mode='border', crop_pct=0.9, **NORMAL)])
def test_floats_of_the_device_are_those_of_the_worker(settings, photo):
    """Whatever timm is asked for, and the random numbers after it."""
    timm, ours = create_transform(**settings), [TimmTransform(on_device=on_device, **settings) for on_device in (False, True)]
    image = Image.open(photo).convert('RGB')
    for value in range(6):
        seed(value)
        expected, after = timm(image), (random.random(), np.random.rand(), torch.rand(1))
        for transform in ours:
            seed(value)
            packed = PackTimm()(transform(dict(img=np.array(image)[..., ::-1])))
            assert (random.random(), np.random.rand(), torch.rand(1)) == after
            assert torch.equal(normalized(packed), expected)
