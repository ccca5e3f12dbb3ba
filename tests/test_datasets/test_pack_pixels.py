import numpy as np
import torch
from mmpretrain.datasets import PackInputs
from PIL import Image

from nepa_mm.datasets import PackPixels


def test_pixels_are_those_of_pack_inputs_whatever_the_image_is():
    rgb = np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8)
    expected = PackInputs()(dict(img=rgb[..., ::-1]))['inputs']  # mm's BGR
    tensor = torch.from_numpy(rgb).permute(2, 0, 1)
    for img in (tensor, tensor.contiguous(), tensor.contiguous().flip(-1).flip(-1), Image.fromarray(rgb), rgb[..., ::-1]):
        packed = PackPixels()(dict(img=img, img_path='a.jpg', gt_label=3))
        assert torch.equal(packed['inputs'], expected) and packed['inputs'].is_contiguous()
        assert packed['data_samples'] == [] and len(packed) == 2
