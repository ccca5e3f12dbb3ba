import io
import re

import numpy as np
import pytest
import tifffile
import torch
from PIL import Image

from nepa_mm import NEPAViT
from nepa_mm.errors import DataError
from nepa_mm.models import NEPA, CausalNaFlexViT
from nepa_mm.visualization.patch_maps import PatchMaps
from nepa_mm.visualization.read_image import cropped, image_size, pictures, pixels_of, read_image
from tiny import TINY

RED, BLUE = (200, 30, 30), (30, 30, 200)


def two_halves(size=(40, 20)):
    """Red on the left, blue on the right."""
    image = Image.new('RGB', size, RED)
    image.paste(BLUE, (size[0] // 2, 0, *size))
    return image


def colours(image):
    return [image.getpixel((image.width * i // 4, image.height // 2)) for i in (1, 3)]


@pytest.mark.parametrize('mode, suffix', [('RGB', 'png'), ('P', 'png'), ('P', 'gif'), ('RGBA', 'png'), ('CMYK', 'jpg'),
                                          ('CMYK', 'tif'), ('YCbCr', 'jpg'), ('RGB', 'webp'), ('RGB', 'bmp')])
def test_modes(mode, suffix, tmp_path):
    image = two_halves().quantize(2) if mode == 'P' else two_halves().convert(mode)
    image.save(tmp_path / f'a.{suffix}')
    image = read_image(tmp_path / f'a.{suffix}')
    assert image.mode == 'RGB' and image.size == (40, 20)
    np.testing.assert_allclose(colours(image), [RED, BLUE], atol=12)


@pytest.mark.parametrize('suffix', ['png', 'tif'])
def test_16_bits_are_scaled_and_not_clipped(suffix, tmp_path):
    ramp = np.tile(np.linspace(0, 65535, 64).astype(np.uint16), (8, 1))
    Image.fromarray(ramp).save(tmp_path / f'a.{suffix}')
    np.testing.assert_allclose(np.asarray(read_image(tmp_path / f'a.{suffix}'))[0, :, 1], np.linspace(0, 255, 64), atol=1)


def test_floating_point_values_without_a_known_white(tmp_path):
    Image.fromarray(np.full((4, 4), 1e6, dtype=np.float32)).save(tmp_path / 'a.tif')
    with pytest.raises(DataError, match=r'^values from 1e\+06 to 1e\+06 \(mode F\).* \| .*a\.tif \| save it with 8 or 16 bits$'):
        read_image(tmp_path / 'a.tif')


@pytest.mark.parametrize('orientation', range(1, 9))
def test_a_photograph_is_upright(orientation, tmp_path):
    exif = Image.Exif()
    exif[0x0112] = orientation
    two_halves().save(tmp_path / 'a.jpg', exif=exif, quality=95)
    image = read_image(tmp_path / 'a.jpg')
    assert image.size == ((20, 40) if orientation > 4 else (40, 20))
    upper_left = image.getpixel((4, 4))
    np.testing.assert_allclose(upper_left, BLUE if orientation in (2, 3, 7, 8) else RED, atol=25)


@pytest.mark.parametrize('suffix', ['gif', 'png', 'webp', 'tif'])
def test_of_an_animation_the_first_frame(suffix, tmp_path):
    frames = [Image.new('RGB', (16, 16), colour) for colour in (RED, BLUE, (0, 255, 0))]
    frames[0].save(tmp_path / f'a.{suffix}', save_all=True, append_images=frames[1:])
    np.testing.assert_allclose(read_image(tmp_path / f'a.{suffix}').getpixel((8, 8)), RED, atol=12)


def test_what_is_transparent_is_white(tmp_path):
    image = two_halves().convert('RGBA')
    image.paste((0, 0, 0, 0), (0, 0, 20, 20))
    image.save(tmp_path / 'a.png')
    assert colours(read_image(tmp_path / 'a.png')) == [(255, 255, 255), BLUE]
    palette = two_halves().quantize(2)
    palette.save(tmp_path / 'b.png', transparency=palette.getpixel((0, 0)))
    assert colours(read_image(tmp_path / 'b.png'))[0] == (255, 255, 255)


def broken(tmp_path, kind):
    path = tmp_path / f'{kind}.jpg'
    if kind == 'truncated':
        buffer = io.BytesIO()
        Image.fromarray(np.random.default_rng(0).integers(0, 256, (99, 99, 3), dtype=np.uint8)).save(buffer, 'JPEG')
        path.write_bytes(buffer.getvalue()[:2000])
    elif kind == 'empty':
        path.touch()
    elif kind == 'text':
        path.write_text('not an image')
    elif kind == 'bomb':  # a header that claims 40000 x 40000 pixels
        buffer = io.BytesIO()
        Image.new('1', (40000, 40000)).save(buffer, 'PNG')
        path.write_bytes(buffer.getvalue())
    return path


@pytest.mark.parametrize('kind', ['truncated', 'empty', 'text', 'bomb'])
def test_what_cannot_be_read_is_named_in_one_line(kind, tmp_path):
    path = broken(tmp_path, kind)
    with pytest.raises(DataError) as error:
        read_image(path)
    assert re.fullmatch(rf'it cannot be read as an image \(.*\) \| {path} \| mend it.*', str(error.value))


@pytest.mark.parametrize('size', [(1, 1), (3, 500), (9000, 2), (12000, 9000)])
def test_tiny_and_huge_images_are_scaled(size):
    assert cropped(Image.new('RGB', size, RED), (28, 42)).getpixel((41, 27)) == RED


def test_pixels_are_the_middle_of_each_image():
    pixels = pixels_of([two_halves((80, 20)), Image.new('RGB', (7, 9), BLUE)], (20, 30))
    assert pixels.shape == (2, 3, 20, 30) and pixels.dtype == torch.uint8
    assert pixels[0, :, 10, 3].tolist() == list(RED) and pixels[0, :, 10, 27].tolist() == list(BLUE)


def test_a_naflexvit_takes_any_size():
    backbone = CausalNaFlexViT(
        model_name='naflexvit_base_patch16_gap', patch_size=8, embed_dim=16, depth=1, num_heads=2, pos_embed_grid_size=(4, 5))
    model = NEPA(backbone)
    assert image_size(model) == (32, 40) and image_size(model, [24, 48]) == (24, 48)
    assert PatchMaps(model, torch.zeros(1, 3, 24, 48, dtype=torch.uint8)).grid == (3, 6)


@pytest.mark.parametrize('bands', [1, 3, 4])
def test_bands_of_bytes_keep_their_order(bands, tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (28, 28, bands), dtype=np.uint8)
    tifffile.imwrite(tmp_path / 'a.tif', pixels.squeeze(), photometric='minisblack')
    vit = NEPAViT(**TINY, in_channels=bands)
    model = NEPA(vit, data_preprocessor=dict(mean=[127.5] * bands, std=[127.5] * bands))
    found = pixels_of([read_image(tmp_path / 'a.tif', bands=bands)], (28, 28))
    expected = vit.embed((torch.from_numpy(pixels).permute(2, 0, 1)[None] - 127.5) / 127.5)
    torch.testing.assert_close(PatchMaps(model, found).z, expected)
    np.testing.assert_array_equal(pictures(found)[0], pixels[..., :3] if bands > 2 else pixels.repeat(3, axis=2))
