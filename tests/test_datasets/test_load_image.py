import io
import warnings

import mmcv
import numpy as np
import pytest
import torch
from mmengine import fileio
from PIL import Image, ImageOps

from nepa_mm.datasets import LoadImage
from nepa_mm.datasets.load_image import decode
from nepa_mm.errors import DataError
from tiny import needs_sample, real_images


def encode(mode='RGB', size=(61, 43), form='JPEG', **kwargs) -> bytes:
    """An encoded image of smooth colours and noise, ``size`` (W, H)."""
    x, y = np.meshgrid(np.linspace(0, 255, size[0]), np.linspace(0, 255, size[1]))
    noise = np.random.default_rng(0).normal(0, 20, (*size[::-1], 3))
    image = Image.fromarray((np.stack([x, y, 255 - x], axis=-1) + noise).clip(0, 255).astype(np.uint8))
    buffer = io.BytesIO()
    image.convert(mode).save(buffer, form, **kwargs)
    return buffer.getvalue()


def exif(orientation: int) -> Image.Exif:
    made = Image.Exif()
    made[0x0112] = orientation
    return made


def pillow(content: bytes) -> np.ndarray:
    """RGB pixels as Hugging Face datasets and the release decode them."""
    return np.array(ImageOps.exif_transpose(Image.open(io.BytesIO(content))).convert('RGB'))


def check(results: dict, expected: np.ndarray) -> None:
    np.testing.assert_array_equal(results['img'][..., ::-1], expected)
    assert results['img'].dtype == np.uint8 and 'img_bytes' not in results
    assert results['img_shape'] == results['ori_shape'] == expected.shape[:2]


XMP = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:Description tiff:Orientation="6"/></x:xmpmeta>'
BY_TORCHVISION = {
    'colour': encode(), 'full chroma': encode(subsampling=0, quality=30), 'half chroma': encode(subsampling=1),
    'progressive': encode(progressive=True), 'restarts': encode(restart_marker_blocks=2), 'as RGB': encode(keep_rgb=True),
    'grey': encode('L'), 'one pixel': encode(size=(1, 1)), 'a row': encode(size=(97, 1)), 'comment': encode(comment=b'x' * 3000),
    **{f'turned {i}': encode(exif=exif(i)) for i in range(1, 9)}}
BY_PILLOW = {
    'CMYK': encode('CMYK'), 'XMP': encode(xmp=XMP), 'PNG': encode(form='PNG'), 'palette': encode('P', form='PNG'),
    'alpha': encode('RGBA', form='PNG'), 'grey and alpha': encode('LA', form='PNG'), 'bits': encode('1', form='PNG'),
    'GIF': encode('P', form='GIF'), 'BMP': encode(form='BMP'), 'WebP': encode(form='WEBP', lossless=True)}


@pytest.mark.parametrize('name', [*BY_TORCHVISION, *BY_PILLOW])
def test_pixels_are_pillows_in_bgr_from_bytes_and_from_a_file(name, tmp_path):
    content = {**BY_TORCHVISION, **BY_PILLOW}[name]
    expected = pillow(content)
    np.testing.assert_array_equal(mmcv.imfrombytes(content, backend='pillow')[..., ::-1], expected)
    (tmp_path / 'image').write_bytes(content)
    check(LoadImage()(dict(img_bytes=content)), expected)
    check(LoadImage()(dict(img_path=str(tmp_path / 'image'))), expected)
    assert (decode(content) is not None) == (name in BY_TORCHVISION)


@pytest.mark.parametrize('content', [encode('L'), encode()], ids=['grey', 'colour'])
def test_transforms_may_write_to_each_channel(content):
    img = LoadImage()(dict(img_bytes=content))['img']
    img[3:5, 7:9] = (10, 20, 30)  # as RandomErasing does
    assert img[3:5, 7:9].reshape(-1, 3).tolist() == [[10, 20, 30]] * 4


@needs_sample
def test_pixels_of_real_images():
    for content in real_images()[::5]:
        check(LoadImage()(dict(img_bytes=content)), pillow(content))


def test_bytes_go_before_the_path_and_arguments_are_kept():
    content = encode()
    results = LoadImage(imdecode_backend='cv2', to_float32=True)(dict(img_bytes=content, img_path='nowhere.jpg'))
    np.testing.assert_array_equal(results['img'], mmcv.imfrombytes(content, backend='cv2').astype(np.float32))
    grey = LoadImage(color_type='grayscale')(dict(img_bytes=content))['img']
    np.testing.assert_array_equal(grey, mmcv.imfrombytes(content, flag='grayscale', backend='pillow'))


def test_nothing_warns_and_a_file_elsewhere_is_read_once(monkeypatch):
    paths = []
    monkeypatch.setattr(fileio, 'get', lambda path, backend_args=None: paths.append(path) or BY_PILLOW['PNG'])
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        LoadImage()(dict(img_bytes=BY_TORCHVISION['colour']))
        LoadImage()(dict(img_path='s3://bucket/a.png'))
    assert paths == ['s3://bucket/a.png']


@pytest.mark.parametrize('orientation', range(1, 9))
def test_exif_orientation_is_that_of_hugging_face_datasets(orientation):
    datasets = pytest.importorskip('datasets')
    content = encode(size=(24, 16), exif=exif(orientation))
    expected = np.array(datasets.Image().decode_example(dict(path=None, bytes=content)).convert('RGB'))
    img = LoadImage()(dict(img_bytes=content))['img']
    np.testing.assert_array_equal(img[..., ::-1], expected)
    assert img.shape[:2] == ((24, 16) if orientation > 4 else (16, 24))


def test_an_image_that_is_there_is_kept():
    results = dict(img=torch.zeros(1))
    assert LoadImage()(results) is results


@pytest.mark.parametrize('backend', ['pillow', 'cv2'])
def test_an_image_that_cannot_be_decoded_is_named(backend, tmp_path):
    jpeg = encode(size=(240, 160))
    for content in (b'', b'no image', jpeg[:3], jpeg[:4], jpeg[:300]):
        (tmp_path / 'a.jpg').write_bytes(content)
        for results in (dict(img_path=str(tmp_path / 'a.jpg')), dict(img_bytes=content, img_path='hf/train/a.jpg')):
            name = results['img_path']
            with pytest.raises(DataError, match=rf'^it cannot be read as an image .* \| img_path={name!r} \| mend') as error:
                LoadImage(imdecode_backend=backend)(dict(results))
            assert '\n' not in str(error.value)
            assert LoadImage(imdecode_backend=backend, ignore_empty=True)(dict(results)) is None


def test_a_truncated_or_missing_image_is_an_error(tmp_path):
    with pytest.raises(DataError, match='OSError: .*truncated'):
        LoadImage()(dict(img_bytes=encode(size=(240, 160))[:5000]))
    with pytest.raises(DataError, match='FileNotFoundError'):
        LoadImage()(dict(img_path=str(tmp_path / 'none.jpg')))
