import numpy as np
import torch
from mmpretrain.datasets import PackInputs

from nepa_mm.datasets import PackTimm
from nepa_mm.datasets.erased_patches import ErasedPatches


def test_packs_as_mmpretrain_and_keeps_the_patches():
    results = dict(img=np.arange(24, dtype=np.uint8).reshape(2, 4, 3), gt_label=2, img_shape=(2, 4))
    packed, expected = PackTimm()(dict(results)), PackInputs()(dict(results))
    assert torch.equal(packed['inputs'], expected['inputs']) and packed.keys() == expected.keys()
    patches = ErasedPatches([(0, 1, 0, 1)], torch.zeros(3))
    assert PackTimm()(dict(results, erased=patches))['erased'] is patches
