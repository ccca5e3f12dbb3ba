"""Pixels of LoadImage, that is Pillow's, whoever decodes them."""
import io
import warnings

import numpy as np
import pytest
import torch
from mmengine import fileio
from PIL import Image

from nepa_mm.datasets import DecodeImage, LoadImage
from nepa_mm.datasets import decode_image as module
from nepa_mm.errors import ConfigError, DataError
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


XMP = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:Description tiff:Orientation="6"/></x:xmpmeta>'
JPEGS = {
    'colour': encode(), 'full chroma': encode(subsampling=0, quality=30), 'half chroma': encode(subsampling=1),
    'progressive': encode(progressive=True), 'restarts': encode(restart_marker_blocks=2), 'as RGB': encode(keep_rgb=True),
    'grey': encode('L'), 'one pixel': encode(size=(1, 1)), 'a row': encode(size=(97, 1)), 'comment': encode(comment=b'x' * 3000),
    **{f'turned {i}': encode(exif=exif(i)) for i in range(1, 9)}}
OTHERS = {
    'CMYK': encode('CMYK'), 'XMP': encode(xmp=XMP), 'PNG': encode(form='PNG'), 'palette': encode('P', form='PNG'),
    'alpha': encode('RGBA', form='PNG'), 'grey and alpha': encode('LA', form='PNG'), 'bits': encode('1', form='PNG'),
    'GIF': encode('P', form='GIF'), 'BMP': encode(form='BMP'), 'WebP': encode(form='WEBP', lossless=True)}


def check(results: dict, content: bytes, backend: str) -> None:
    expected = LoadImage()(dict(img_bytes=content))
    pixels = np.asarray(results['img']) if backend == 'pillow' else results['img'].permute(1, 2, 0).numpy()
    np.testing.assert_array_equal(pixels[..., ::-1], expected['img'])
    assert pixels.dtype == np.uint8 and 'img_bytes' not in results
    assert results['img_shape'] == results['ori_shape'] == expected['ori_shape']


@pytest.mark.parametrize('backend', ['torchvision', 'pillow'])
@pytest.mark.parametrize('name', [*JPEGS, *OTHERS])
def test_pixels_are_those_of_load_image(name, backend, tmp_path):
    content = {**JPEGS, **OTHERS}[name]
    (tmp_path / 'image').write_bytes(content)
    check(DecodeImage(backend)(dict(img_bytes=content)), content, backend)
    check(DecodeImage(backend)(dict(img_path=str(tmp_path / 'image'))), content, backend)
    assert (module.decode(content) is not None) == (name in JPEGS)  # who decoded it


@needs_sample
def test_pixels_of_real_images():
    for content in real_images()[::5]:
        check(DecodeImage()(dict(img_bytes=content)), content, 'torchvision')


def test_nothing_warns_and_a_file_elsewhere_is_read_once(monkeypatch):
    paths = []
    monkeypatch.setattr(fileio, 'get', lambda path, backend_args=None: paths.append(path) or OTHERS['PNG'])
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        DecodeImage()(dict(img_bytes=JPEGS['colour']))
        DecodeImage()(dict(img_path='s3://bucket/a.png'))
    assert paths == ['s3://bucket/a.png']


@pytest.mark.parametrize('backend', ['torchvision', 'pillow'])
def test_an_image_that_is_there_is_converted(backend):
    bgr = np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8)  # as mmpretrain's inferencers give it
    img = DecodeImage(backend)(dict(img=bgr))['img']
    np.testing.assert_array_equal(img if backend == 'pillow' else img.permute(1, 2, 0), bgr[..., ::-1])


def test_errors_are_those_of_load_image(tmp_path):
    path = tmp_path / 'a.jpg'
    jpeg = encode(size=(240, 160))
    for content in (b'', b'no image', jpeg[:3], jpeg[:4], jpeg[:700], jpeg[:5000]):
        path.write_bytes(content)
        for source in (dict(img_bytes=content, img_path='hf/train/a.jpg'), dict(img_path=str(path))):
            messages = []
            for load in (LoadImage(), DecodeImage()):
                with pytest.raises(DataError, match='^img_path=') as error:
                    load(dict(source))
                messages.append(str(error.value).split(' object at 0x')[0])
            assert messages[0] == messages[1] and '\n' not in messages[1]
            assert DecodeImage(ignore_empty=True)(dict(source)) is None
    with pytest.raises(DataError, match='FileNotFoundError'):
        DecodeImage()(dict(img_path=str(tmp_path / 'none.jpg')))
    with pytest.raises(ConfigError, match=r"DecodeImage.backend='cv2' is unknown; choose 'torchvision' or 'pillow'"):
        DecodeImage('cv2')
    assert torch.is_tensor(DecodeImage()(dict(img_bytes=JPEGS['grey']))['img'])
