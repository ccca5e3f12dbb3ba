import pytest
import torch
from PIL import Image
from torchvision import transforms
from torchvision.transforms.functional import pil_to_tensor, to_pil_image

from nepa_mm.datasets import RandomResizedCropFlip


def ramp(height: int, width: int) -> torch.Tensor:
    values = torch.arange(height)[:, None] + torch.arange(width)
    return torch.stack([values, values.flip(0), 2 * values]).to(torch.uint8)


@pytest.mark.parametrize('settings', [
    dict(size=24), dict(size=100, scale=(0.3, 0.5), ratio=(0.5, 0.7)), dict(size=16, prob=0.), dict(size=16, prob=1.)])
@pytest.mark.parametrize('image', [ramp(60, 40), ramp(40, 60), ramp(7, 90), ramp(90, 7), ramp(1, 1), ramp(24, 24)])
def test_crops_and_flips_are_torchvisions(image, settings):
    """Of long images no crop of the drawn shapes fits, of which torchvision takes the middle."""
    ours = RandomResizedCropFlip(**settings)
    prob = settings.get('prob', 0.5)
    crop = transforms.RandomResizedCrop(**{key: value for key, value in settings.items() if key != 'prob'})
    theirs = transforms.Compose([crop, transforms.RandomHorizontalFlip(prob)])
    flipped = set()
    for seed in range(20):
        torch.manual_seed(seed)
        expected, after = theirs(to_pil_image(image)), torch.rand(1)
        torch.manual_seed(seed)
        results = ours(dict(img=to_pil_image(image)))
        assert results['img'] == expected and isinstance(expected, Image.Image) and torch.rand(1) == after
        torch.manual_seed(seed)
        results = ours(dict(img=image))
        assert torch.rand(1) == after and results['img_shape'] == (settings['size'], ) * 2
        assert results['img'].dtype == torch.uint8
        assert (results['img'].int() - pil_to_tensor(expected).int()).abs().max() <= 1
        flipped.add(bool(results['img'][0, 0, 0] > results['img'][0, 0, -1]))  # ramps rise from left to right
    if image.shape[2] > 7:
        assert flipped == {0.: {False}, 1.: {True}, 0.5: {False, True}}[prob]
