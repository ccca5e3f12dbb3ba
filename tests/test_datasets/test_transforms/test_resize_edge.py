"""Resizing of bands, each as Pillow resizes it."""
import mmpretrain.datasets as theirs
import numpy as np
import pytest
from PIL import Image

from nepa_mm.datasets import ResizeEdge


@pytest.mark.parametrize('channels', [1, 2, 4, 12])
@pytest.mark.parametrize('dtype', [np.uint8, np.float32])
def test_each_band_is_pillow_s(channels, dtype):
    img = (np.random.default_rng(0).random((40, 50, channels)) * 255).astype(dtype)
    results = ResizeEdge(16, interpolation='bicubic')(dict(img=img))
    assert results['img_shape'] == (16, 20) and results['img'].shape == (16, 20, channels) and results['img'].dtype == dtype
    assert results['scale'] == (20, 16) and results['scale_factor'] == (0.4, 0.4)
    for band in range(channels):
        np.testing.assert_array_equal(results['img'][..., band],
                                      np.asarray(Image.fromarray(img[..., band]).resize((20, 16), Image.Resampling.BICUBIC)))


def test_rgb_is_resized_as_by_mmpretrain():
    img = np.random.default_rng(0).integers(0, 256, (40, 50, 3), np.uint8)
    ours, other = (each(16, backend='pillow', interpolation='bicubic')(dict(img=img)) for each in (ResizeEdge, theirs.ResizeEdge))
    np.testing.assert_array_equal(ours.pop('img'), other.pop('img'))
    assert ours == other
