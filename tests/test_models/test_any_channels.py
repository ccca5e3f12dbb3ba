"""Normalisation of any number of channels, in batches of pretraining and of segmentation."""
import pytest
import torch

from nepa_mm.errors import ConfigError
from nepa_mm.models import FusedSelfSupDataPreprocessor, SegDataPreProcessor

MEAN, STD = [1., 2., 3., 4.], [2., 4., 8., 16.]


@pytest.mark.parametrize('dtype', [torch.uint8, torch.float32])
@pytest.mark.parametrize('kind', [FusedSelfSupDataPreprocessor, SegDataPreProcessor])
def test_each_channel_by_its_own(kind, dtype):
    pixels = torch.randint(0, 256, (2, 4, 6, 5)).to(dtype)
    inputs = pixels if kind is FusedSelfSupDataPreprocessor else list(pixels)
    found = kind(mean=MEAN, std=STD)(dict(inputs=inputs, data_samples=None))['inputs']
    for channel in range(4):
        assert torch.equal(found[:, channel], (pixels[:, channel].float() - MEAN[channel]) / STD[channel])


@pytest.mark.parametrize('settings, message', [
    (dict(mean=MEAN, std=STD[:3]), 'is not of the 4 channels of mean'),
    (dict(mean=MEAN), 'None is not of the 4 channels'),
    (dict(mean=MEAN, std=STD, bgr_to_rgb=True), 'True, and the 4 channels of mean are not BGR'),
])
def test_what_does_not_fit(settings, message):
    for kind in (FusedSelfSupDataPreprocessor, SegDataPreProcessor):
        with pytest.raises(ConfigError, match=message):
            kind(**settings)
