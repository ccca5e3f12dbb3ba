import io

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision import transforms
from torchvision.transforms.functional import to_pil_image

from nepa_mm.datasets import LoadImage, PackPixels, RandomResizedCropFlip
from nepa_mm.datasets.transforms import load_image
from nepa_mm.datasets.transforms.encoded_jpeg import EncodedJpeg, codec
from nepa_mm.errors import ConfigError, DataError


def ramp(height: int, width: int) -> torch.Tensor:
    values = torch.arange(height)[:, None] + torch.arange(width)
    return torch.stack([values, values.flip(0), 2 * values]).to(torch.uint8)


def photo(size=(70, 50), mode='RGB', orientation=1) -> bytes:
    """A JPEG of noise, ``size`` (W, H)."""
    exif, buffer = Image.Exif(), io.BytesIO()
    exif[0x0112] = orientation
    noise = np.random.default_rng(0).integers(0, 256, (*size[::-1], 3), dtype=np.uint8)
    Image.fromarray(noise).convert(mode).save(buffer, 'JPEG', exif=exif)
    return buffer.getvalue()


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


@pytest.mark.parametrize('backend', ['torchvision', 'pillow'])
@pytest.mark.parametrize('channels, dtype', [(1, np.uint8), (4, np.uint8), (1, np.float32), (4, np.float32)])
def test_any_number_of_channels_gets_the_same_crop(channels, dtype, backend):
    rgb = ramp(40, 60).permute(1, 2, 0).numpy()
    image = rgb[..., 0] if channels == 1 else np.concatenate([rgb, rgb[..., :1]], axis=2)
    transform = RandomResizedCropFlip((32, 96), backend=backend)
    for seed in range(4):
        torch.manual_seed(seed)
        expected = transform(dict(img=rgb))['img']
        torch.manual_seed(seed)
        results = transform(dict(img=image.astype(dtype)))
        assert results['img'].shape == (32, 96, channels) and results['img_shape'] == (32, 96)
        difference = results['img'].astype(float) - expected[..., [0, 1, 2, 0]][..., :channels]
        assert results['img'].dtype == dtype and np.abs(difference).max() <= (0 if dtype == np.uint8 else 1)
        assert PackPixels()(results)['inputs'].shape == (channels, 32, 96)
    torch.manual_seed(0)
    theirs = transforms.RandomResizedCrop((32, 96))(to_pil_image(ramp(40, 60)))
    torch.manual_seed(0)
    flat = RandomResizedCropFlip((32, 96), prob=0., backend='pillow')(dict(img=rgb[..., ::-1]))['img']
    np.testing.assert_array_equal(flat[..., ::-1], theirs)


@pytest.mark.skipif(codec() is None, reason='nvImageCodec is not installed')
@pytest.mark.parametrize('backend', ['torchvision', 'pillow'])
@pytest.mark.parametrize('options', [dict(), dict(size=(90, 7)), dict(mode='L'), dict(orientation=6)], ids=str)
def test_of_an_encoded_image_the_crop_alone_is_decoded_to_the_same_bits(options, backend, monkeypatch):
    content = photo(**options)
    monkeypatch.setattr(load_image, 'decode_by_pillow', None)  # only the whole image would need it
    transform, encoded = RandomResizedCropFlip(24, backend=backend), LoadImage(whole=False)(dict(img_bytes=content))
    assert isinstance(encoded['img'], EncodedJpeg)
    monkeypatch.undo()
    whole = LoadImage()(dict(img_bytes=content))
    assert encoded['img_shape'] == encoded['ori_shape'] == whole['img_shape']
    for seed in range(12):
        torch.manual_seed(seed)
        expected, after = transform(dict(whole)), torch.rand(1)
        torch.manual_seed(seed)
        found = transform(dict(encoded))
        np.testing.assert_array_equal(found['img'], expected['img'])
        assert torch.rand(1) == after and found['img_shape'] == (24, 24)


@pytest.mark.skipif(codec() is None, reason='nvImageCodec is not installed')
def test_an_encoded_image_that_cannot_be_decoded_is_an_error_or_nothing():
    content = photo()
    place = content.index(b'\xff\xc4') + 5
    broken = content[:place] + b'\xff' * 16 + content[place + 16:]  # no such codes
    with pytest.raises(DataError, match=r"^it cannot be read as an image .* \| img_path='a.jpg' \| mend"):
        RandomResizedCropFlip(8)(LoadImage(whole=False)(dict(img_bytes=broken, img_path='a.jpg')))
    assert RandomResizedCropFlip(8)(LoadImage(whole=False, ignore_empty=True)(dict(img_bytes=broken))) is None


def test_sizes_and_images_that_cannot_be_are_refused():
    for size in (0, (32, ), (32, 0), '32', 32.):
        with pytest.raises(ConfigError, match=r' is neither a side in pixels nor a height and a width \| '
                                              r'RandomResizedCropFlip.size \| give one of the two'):
            RandomResizedCropFlip(size)
    with pytest.raises(DataError, match=r"of uint8 or float32, not uint16 \| img_path='a.tif' \| load it with to_float32=True"):
        RandomResizedCropFlip(8)(dict(img=np.zeros((9, 9), np.uint16), img_path='a.tif'))


def test_an_unknown_backend_is_refused():
    with pytest.raises(ConfigError, match=r"'cv2' is unknown \| RandomResizedCropFlip.backend \| "
                                          r"choose 'pillow' or 'torchvision'"):
        RandomResizedCropFlip(24, backend='cv2')
