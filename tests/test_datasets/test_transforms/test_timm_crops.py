"""Crops against timm's and torchvision's own steps, whatever the image's shape."""
import random

import numpy as np
import pytest
import torch
from PIL import Image
from timm.data import create_transform

from nepa_mm.datasets import TimmTransform
from nepa_mm.datasets.transforms.timm_crops import CentreCrop, RandomCrop, crop_of

SHAPES = ((1, 1), (1, 90), (90, 1), (2, 3), (48, 48), (47, 300), (300, 47), (55, 56), (200, 333))
EVALUATIONS = (dict(), dict(crop_pct=1.), dict(crop_pct=0.5), dict(crop_pct=0.95, crop_mode='squash'), dict(crop_pct=1.4),
               dict(input_size=(40, 48), crop_mode='squash'), dict(interpolation='bilinear'))


@pytest.mark.parametrize('compile', [False, True])
@pytest.mark.parametrize('settings', [*EVALUATIONS, dict(is_training=True), dict(is_training=True, interpolation='random')])
def test_images_of_any_shape(settings, compile):
    settings = {'input_size': 48, 'interpolation': 'bicubic', 'color_jitter': None, **settings}
    timm, ours = create_transform(**settings), TimmTransform(compile=compile, **settings)
    assert type(ours.crop) is (RandomCrop if settings.get('is_training') else CentreCrop)
    for i, shape in enumerate(SHAPES):
        image = np.random.default_rng(i).integers(0, 256, (*shape, 3), dtype=np.uint8)
        random.seed(i)
        torch.manual_seed(i)
        expected = timm(Image.fromarray(image))
        random.seed(i)
        torch.manual_seed(i)
        assert torch.equal(torch.from_numpy(ours(dict(img=image[..., ::-1]))['img']).permute(2, 0, 1), expected)


def test_other_beginnings_are_left_to_timm():
    for settings in (dict(crop_mode='border'), dict(input_size=(40, 48)), dict(interpolation='lanczos'),
                     dict(interpolation='nearest'), dict(crop_border_pixels=3), dict(is_training=True, train_crop_mode='rkrr')):
        assert crop_of(create_transform(**settings).transforms, True) is None
