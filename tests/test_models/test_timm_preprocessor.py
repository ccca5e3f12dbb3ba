"""timm's floats of bytes, and what else mmpretrain's preprocessor does."""
import copy

import pytest
import torch
from mmengine.dataset import pseudo_collate
from mmpretrain.models import ClsDataPreprocessor
from mmpretrain.structures import DataSample
from timm.data import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD
from torchvision.transforms import Normalize
from torchvision.transforms.functional import to_pil_image, to_tensor

from nepa_mm.datasets import collate_and_hold
from nepa_mm.datasets.erased_patches import ErasedPatches
from nepa_mm.models import TimmDataPreprocessor

EVERY_BYTE = torch.arange(256, dtype=torch.uint8).view(1, 16, 16).repeat(3, 1, 1)


@pytest.mark.parametrize('mean, std', [([0.5] * 3, [0.5] * 3), (IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD)])
def test_every_byte_of_every_channel_becomes_timms_float(mean, std):
    preprocessor = TimmDataPreprocessor(timm_mean=mean, timm_std=std)
    expected = Normalize(torch.tensor(mean), torch.tensor(std))(to_tensor(to_pil_image(EVERY_BYTE)))
    for inputs in (EVERY_BYTE[None], [EVERY_BYTE]):
        assert torch.equal(preprocessor(dict(inputs=inputs))['inputs'], expected[None])
    assert not preprocessor.state_dict()  # checkpoints stay as they are


def test_patches_are_written_into_their_images_and_labels_and_augmentations_go_mmpretrains_way():
    samples = [dict(inputs=EVERY_BYTE, data_samples=DataSample().set_gt_label(i), erased=ErasedPatches([], torch.empty(0)))
               for i in range(4)]
    samples[2]['erased'] = ErasedPatches([(0, 2, 3, 4), (15, 16, 0, 16)], torch.arange(54.))
    augment = dict(augments=[lambda images, scores: (images + 1, scores * 2.)])
    settings = dict(to_onehot=True, num_classes=4, batch_augments=augment)
    expected = ClsDataPreprocessor(**settings)
    batch = (EVERY_BYTE / 255 - 0.5) / 0.5
    batch = batch.expand(4, -1, -1, -1).clone()
    batch[2, :, :2, 3:4] = torch.arange(6.).view(3, 2, 1)
    batch[2, :, 15:] = torch.arange(6., 54).view(3, 1, 16)
    for collate in (collate_and_hold, pseudo_collate):
        for training in (True, False):
            data = collate(copy.deepcopy(samples))
            found = TimmDataPreprocessor(**settings)(data, training)
            labels = [sample['data_samples'] for sample in copy.deepcopy(samples)]
            wanted = expected(dict(inputs=batch.clone(), data_samples=labels), training)
            assert torch.equal(found['inputs'], wanted['inputs'])
            for one, other in zip(found['data_samples'], wanted['data_samples'], strict=True):
                assert torch.equal(one.gt_label, other.gt_label) and torch.equal(one.gt_score, other.gt_score)


def test_floats_and_pixels_with_a_mean_stay_mmpretrains():
    floats = torch.randn(2, 3, 4, 4)
    assert torch.equal(TimmDataPreprocessor()(dict(inputs=floats))['inputs'], floats)
    settings = dict(mean=[127.5] * 3, std=[127.5] * 3, to_rgb=True)
    pixels = torch.randint(0, 256, (2, 3, 4, 4), dtype=torch.uint8)
    data = dict(inputs=pixels)
    assert torch.equal(TimmDataPreprocessor(**settings)(data)['inputs'], ClsDataPreprocessor(**settings)(data)['inputs'])
