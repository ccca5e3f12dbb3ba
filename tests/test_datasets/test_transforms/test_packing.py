import numpy as np
import torch
from mmpretrain.datasets import PackInputs

from nepa_mm.datasets import PackPixels, PackTimm
from nepa_mm.datasets.erased_patches import ErasedPatches


def test_pixels_are_those_of_pack_inputs_however_they_lie_in_memory():
    rgb = np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8)
    bgr = rgb[..., ::-1]  # as it is decoded
    expected = PackInputs()(dict(img=bgr))['inputs']
    for img in (bgr, np.ascontiguousarray(bgr), np.ascontiguousarray(bgr[:, ::-1])[:, ::-1]):
        packed = PackPixels()(dict(img=img, img_path='a.jpg', gt_label=3))
        assert torch.equal(packed['inputs'], expected) and packed['inputs'].is_contiguous()
        assert packed['data_samples'] == [] and len(packed) == 2


def test_packs_as_mmpretrain_and_keeps_the_patches():
    results = dict(img=np.arange(24, dtype=np.uint8).reshape(2, 4, 3), gt_label=2, img_shape=(2, 4))
    packed, expected = PackTimm()(dict(results)), PackInputs()(dict(results))
    assert torch.equal(packed['inputs'], expected['inputs']) and packed.keys() == expected.keys()
    patches = ErasedPatches([(0, 1, 0, 1)], torch.zeros(3))
    assert PackTimm()(dict(results, erased=patches))['erased'] is patches
