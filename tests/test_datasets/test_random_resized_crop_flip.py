import numpy as np
import pytest
import torch
from torchvision import transforms
from torchvision.transforms.functional import to_pil_image

from nepa_mm.datasets import RandomResizedCropFlip
from nepa_mm.errors import ConfigError


def ramp(height: int, width: int) -> torch.Tensor:
    values = torch.arange(height)[:, None] + torch.arange(width)
    return torch.stack([values, values.flip(0), 2 * values]).to(torch.uint8)


@pytest.mark.parametrize('settings', [
    dict(size=24), dict(size=100, scale=(0.3, 0.5), ratio=(0.5, 0.7)), dict(size=16, prob=0.), dict(size=16, prob=1.)])
@pytest.mark.parametrize('image', [ramp(60, 40), ramp(40, 60), ramp(7, 90), ramp(90, 7), ramp(1, 1), ramp(24, 24)])
def test_crops_and_flips_are_torchvisions(image, settings):
    """Of long images no crop of the drawn shapes fits, of which torchvision takes the middle."""
    ours = {name: RandomResizedCropFlip(**settings, backend=name) for name in ('torchvision', 'pillow')}
    prob = settings.get('prob', 0.5)
    crop = transforms.RandomResizedCrop(**{key: value for key, value in settings.items() if key != 'prob'})
    theirs = transforms.Compose([crop, transforms.RandomHorizontalFlip(prob)])
    rgb = image.permute(1, 2, 0).numpy()
    flipped = set()
    for seed in range(20):
        torch.manual_seed(seed)
        expected, after = np.asarray(theirs(to_pil_image(image))), torch.rand(1)
        for name, transform in ours.items():
            for bgr in (rgb[..., ::-1], np.ascontiguousarray(rgb[..., ::-1])):  # a view of what was decoded, and any other image
                torch.manual_seed(seed)
                results = transform(dict(img=bgr))
                assert torch.rand(1) == after and results['img_shape'] == (settings['size'], ) * 2
                assert results['img'].dtype == np.uint8
                difference = np.abs(results['img'][..., ::-1].astype(int) - expected)
                assert difference.max() <= (1 if name == 'torchvision' else 0)
        flipped.add(bool(expected[0, 0, 0] > expected[0, -1, 0]))  # ramps rise from left to right
    if image.shape[2] > 7:
        assert flipped == {0.: {False}, 1.: {True}, 0.5: {False, True}}[prob]


def test_an_unknown_backend_is_refused():
    with pytest.raises(ConfigError, match=r"'cv2' is unknown \| RandomResizedCropFlip.backend \| "
                                          r"choose 'torchvision' or 'pillow'"):
        RandomResizedCropFlip(24, backend='cv2')
