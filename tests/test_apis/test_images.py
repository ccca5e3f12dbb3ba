from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from nepa_mm.apis.images import load_image, loader_of, picture_of
from nepa_mm.datasets import LoadImage
from nepa_mm.errors import DataError

PIXELS = np.random.default_rng(0).integers(0, 256, (6, 9, 3), np.uint8)


def as_training_reads(path):
    """[H, W, 3] BGR, by the transform of the recipes."""
    return LoadImage()(dict(img_path=str(path)))['img']


def odd_images(folder):
    rgb = Image.fromarray(PIXELS)
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by a quarter
    rgb.save(folder / 'turned.jpg', exif=exif, quality=95)
    rgb.convert('CMYK').save(folder / 'cmyk.jpg')
    rgb.convert('P').save(folder / 'palette.png')
    rgb.convert('L').save(folder / 'grey.jpg')
    rgb.convert('LA').save(folder / 'grey_alpha.png')
    rgb.convert('RGBA').save(folder / 'alpha.png')
    rgb.save(folder / 'moving.gif', save_all=True, append_images=[Image.new('RGB', rgb.size)])
    rgb.save(folder / 'moving.webp', save_all=True, append_images=[Image.new('RGB', rgb.size)], lossless=True)
    Image.fromarray(PIXELS[:1, :1]).save(folder / 'one_pixel.png')
    return sorted(folder.iterdir())


def test_odd_images_are_read_as_in_training(tmp_path):
    for path in odd_images(tmp_path):
        image = load_image(path)
        assert image.dtype == np.uint8 and image.shape[-1] == 3
        np.testing.assert_array_equal(image, as_training_reads(path), err_msg=path.name)
    assert load_image(tmp_path / 'turned.jpg').shape == (9, 6, 3)
    np.testing.assert_array_equal(load_image(tmp_path / 'moving.webp')[..., ::-1], PIXELS)  # the first of two


def test_a_models_loader_decodes_all_of_an_image_though_its_training_decodes_crops():
    steps = [dict(type='nepa_mm.LoadImage', whole=False, color_type='color'), dict(type='PackInputs')]
    model = SimpleNamespace(_config=dict(test_dataloader=dict(dataset=dict(pipeline=steps))))
    assert loader_of(model).whole and not steps[0]['whole']


def test_what_cannot_be_read_is_an_error_though_the_training_leaves_it_out(tmp_path):
    (tmp_path / 'text.jpg').write_text('no image')
    steps = [dict(type='LoadImageFromFile', ignore_empty=True), dict(type='PackInputs')]
    model = SimpleNamespace(_config=dict(test_dataloader=dict(dataset=dict(pipeline=steps))))
    with pytest.raises(DataError, match='it cannot be read as an image .*text.jpg'):
        load_image(tmp_path / 'text.jpg', loader_of(model))


def test_what_cannot_be_read_is_named(tmp_path):
    (tmp_path / 'text.jpg').write_text('no image')
    Image.fromarray(PIXELS).save(tmp_path / 'whole.jpg')
    (tmp_path / 'cut.jpg').write_bytes((tmp_path / 'whole.jpg').read_bytes()[:-60])
    Image.fromarray(PIXELS[..., 0].astype(np.uint16) * 256).save(tmp_path / 'deep.png')
    Image.fromarray(PIXELS[..., 0].astype(np.float32)).save(tmp_path / 'float.tif')
    Image.new('L', (1, 1200)).save(tmp_path / 'line.png')
    Image.new('1', (14000, 14000)).save(tmp_path / 'huge.png')
    for name, message in [('text.jpg', '8 bytes of no format that Pillow knows'), ('cut.jpg', 'truncated'),
                          ('none.jpg', 'none.jpg'),
                          ('deep.png', r"^more than 8 bits a pixel \(Pillow's mode I;16\).* \| .*deep.png' \| scale"),
                          ('float.tif', r"Pillow's mode F\)"), ('line.png', r'^1x1200 pixels are a line.* \| .*line.png'),
                          ('huge.png', 'DecompressionBombError')]:
        with pytest.raises(DataError, match=message) as error:
            load_image(tmp_path / name)
        assert str(tmp_path / name) in str(error.value) and '\n' not in str(error.value)


def test_a_picture_of_any_image():
    np.testing.assert_array_equal(picture_of(PIXELS), PIXELS[..., ::-1])
    np.testing.assert_array_equal(picture_of(np.dstack([PIXELS, PIXELS])), PIXELS[..., ::-1])  # its first three channels
    for grey in (PIXELS[..., 0], PIXELS[..., :1], PIXELS[..., :2]):
        np.testing.assert_array_equal(picture_of(grey), PIXELS[..., :1].repeat(3, axis=2))
    assert picture_of(np.array([[1000, 1255, 2000]], np.uint16))[0].tolist() == [[0] * 3, [65] * 3, [255] * 3]
    assert picture_of(np.zeros((2, 2), np.float32)).max() == 0
