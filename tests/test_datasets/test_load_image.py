import io

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps

from nepa_mm.datasets import LoadImage
from nepa_mm.errors import DataError


def jpeg(mode='RGB', size=(24, 16), **kwargs) -> bytes:
    """An encoded image of noise, ``size`` (W, H)."""
    pixels = np.random.default_rng(0).integers(0, 256, (*size[::-1], len(mode)), dtype=np.uint8).squeeze()
    buffer = io.BytesIO()
    Image.fromarray(pixels, mode).save(buffer, 'JPEG', **kwargs)
    return buffer.getvalue()


def pillow(content: bytes) -> np.ndarray:
    """RGB pixels as Hugging Face datasets and the release decode them."""
    return np.array(ImageOps.exif_transpose(Image.open(io.BytesIO(content))).convert('RGB'))


@pytest.mark.parametrize('mode', ['RGB', 'L', 'CMYK'])
def test_pixels_are_pillows_in_bgr_from_bytes_and_from_a_file(mode, tmp_path):
    content = jpeg(mode)
    (tmp_path / 'a.jpg').write_bytes(content)
    for results in (dict(img_bytes=content), dict(img_path=str(tmp_path / 'a.jpg'))):
        results = LoadImage()(results)
        np.testing.assert_array_equal(results['img'][..., ::-1], pillow(content))
        assert results['img'].dtype == np.uint8 and 'img_bytes' not in results
        assert results['img_shape'] == results['ori_shape'] == (16, 24)


def test_bytes_go_before_the_path_and_arguments_reach_the_parent():
    results = LoadImage(imdecode_backend='cv2', to_float32=True)(dict(img_bytes=jpeg(), img_path='nowhere.jpg'))
    assert results['img'].dtype == np.float32 and results['img'].shape == (16, 24, 3)


@pytest.mark.parametrize('orientation', range(1, 9))
def test_exif_orientation_is_that_of_hugging_face_datasets(orientation):
    datasets = pytest.importorskip('datasets')
    exif = Image.Exif()
    exif[0x0112] = orientation
    content = jpeg(exif=exif)
    expected = np.array(datasets.Image().decode_example(dict(path=None, bytes=content)).convert('RGB'))
    img = LoadImage()(dict(img_bytes=content))['img']
    np.testing.assert_array_equal(img[..., ::-1], expected)
    assert img.shape[:2] == ((24, 16) if orientation > 4 else (16, 24))


def test_an_image_that_is_there_is_kept():
    results = dict(img=torch.zeros(1))
    assert LoadImage()(results) is results


@pytest.mark.parametrize('backend', ['pillow', 'cv2'])
def test_an_image_that_cannot_be_decoded_is_named(backend, tmp_path):
    (tmp_path / 'a.jpg').write_bytes(b'no image')
    for results in (dict(img_path=str(tmp_path / 'a.jpg')), dict(img_bytes=b'no image', img_path='hf/train/a.jpg')):
        name = results['img_path']
        with pytest.raises(DataError, match=f'^img_path={name!r} cannot be read as an image [^\n]*; mend the file') as error:
            LoadImage(imdecode_backend=backend)(dict(results))
        assert '\n' not in str(error.value)
        assert LoadImage(imdecode_backend=backend, ignore_empty=True)(dict(results)) is None


def test_a_truncated_or_missing_image_is_an_error(tmp_path):
    with pytest.raises(DataError, match='OSError: .*truncated'):
        LoadImage()(dict(img_bytes=jpeg(size=(240, 160))[:5000]))
    with pytest.raises(DataError, match='FileNotFoundError'):
        LoadImage()(dict(img_path=str(tmp_path / 'none.jpg')))
