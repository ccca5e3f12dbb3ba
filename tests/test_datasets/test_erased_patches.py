import pytest
import torch
from torch.utils.data import DataLoader

from nepa_mm.datasets import collate_and_hold
from nepa_mm.datasets.erased_patches import ErasedPatches

SAMPLES = [dict(inputs=torch.zeros(1, 4, 4), data_samples=[], erased=ErasedPatches([], torch.empty(0))) for _ in range(6)]
SAMPLES[1]['erased'] = ErasedPatches([(0, 1, 0, 2), (3, 4, 3, 4)], torch.tensor([1., 2, 3]))
SAMPLES[3]['erased'] = ErasedPatches([(2, 4, 0, 1)], torch.tensor([4., 5]))


@pytest.mark.parametrize('workers', [0, 1, 2])
def test_patches_of_a_batch_come_to_their_images(workers):
    expected = torch.zeros(6, 1, 4, 4)
    expected[1, 0, 0, :2], expected[1, 0, 3, 3], expected[3, 0, 2:, 0] = torch.tensor([1., 2]), 3, torch.tensor([4., 5])
    for _ in range(2):
        images = []
        for batch in DataLoader(SAMPLES, 2, num_workers=workers, collate_fn=collate_and_hold):
            batch['erased'].write(batch['inputs'])
            images.append(batch['inputs'])
        assert torch.equal(torch.cat(images), expected)
    assert all('erased' in sample for sample in SAMPLES)
    assert not any(sample['inputs'].any() for sample in SAMPLES)
