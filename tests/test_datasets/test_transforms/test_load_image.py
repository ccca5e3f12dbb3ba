import copy
import io
import struct
import warnings
from types import SimpleNamespace

import mmcv
import numpy as np
import pytest
import torch
import torchvision
from mmcv.transforms import LoadImageFromFile
from mmengine import fileio
from mmengine.config import ConfigDict
from PIL import Image, ImageOps

from nepa_mm.datasets import LoadImage
from nepa_mm.datasets.transforms import load_image
from nepa_mm.datasets.transforms.load_image import decode, with_own_loader
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


def segment(body: bytes) -> bytes:
    """APP1, of EXIF or XMP."""
    return b'\xff\xe1' + struct.pack('>H', len(body) + 2) + body


def exif_bytes(kind: int, order: str) -> bytes:
    """EXIF of orientation 6, a number of a TIFF kind (1 byte, which does not count, 3 short, 4 long) and byte order."""
    value = {1: struct.pack('4B', 6, 0, 0, 0), 3: struct.pack(f'{order}2H', 6, 0), 4: struct.pack(f'{order}I', 6)}[kind]
    begin = (b'II' if order == '<' else b'MM') + struct.pack(f'{order}HI', 42, 8)
    return b'Exif\0\0' + begin + struct.pack(f'{order}HHHI', 1, 0x0112, kind, 1) + value + bytes(4)


def with_segments(*segments: bytes) -> bytes:
    plain = encode(size=(24, 16))
    return plain[:2] + b''.join(segments) + plain[2:]


XMP = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:Description tiff:Orientation="6"/></x:xmpmeta>'
BY_TORCHVISION = {
    'colour': encode(), 'full chroma': encode(subsampling=0, quality=30), 'half chroma': encode(subsampling=1),
    'progressive': encode(progressive=True), 'restarts': encode(restart_marker_blocks=2), 'as RGB': encode(keep_rgb=True),
    'grey': encode('L'), 'one pixel': encode(size=(1, 1)), 'a row': encode(size=(97, 1)), 'comment': encode(comment=b'x' * 3000),
    'not turned': encode(exif=exif(1)), 'XMP without': encode(xmp=b'<x:xmpmeta/>'), 'filled': with_segments(b'\xff' * 3),
    **{f'not turned, 1 {order}': with_segments(segment(exif_bytes(1, order))) for order in '<>'}}
PLAIN_XMP = segment(b'http://ns.adobe.com/xap/1.0/\0<x:xmpmeta/>')
BY_PILLOW = {
    **{f'turned {i}': encode(exif=exif(i)) for i in range(2, 9)},
    **{f'turned, {kind} {order}': with_segments(segment(exif_bytes(kind, order))) for kind in (3, 4) for order in '<>'},
    'EXIF behind XMP': with_segments(PLAIN_XMP, segment(exif_bytes(3, '>'))),
    'EXIF behind filling': with_segments(b'\xff' * 5, PLAIN_XMP, b'\xff', segment(exif_bytes(3, '<'))),
    'CMYK': encode('CMYK'), 'XMP': encode(xmp=XMP), 'PNG': encode(form='PNG'), 'palette': encode('P', form='PNG'),
    'alpha': encode('RGBA', form='PNG'), 'grey and alpha': encode('LA', form='PNG'), 'bits': encode('1', form='PNG'),
    'GIF': encode('P', form='GIF'), 'BMP': encode(form='BMP'), 'WebP': encode(form='WEBP', lossless=True)}


@pytest.mark.parametrize('name', [*BY_TORCHVISION, *BY_PILLOW])
def test_pixels_are_pillows_in_bgr_from_bytes_and_from_a_file(name, tmp_path):
    content = {**BY_TORCHVISION, **BY_PILLOW}[name]
    expected = pillow(content)
    (tmp_path / 'image').write_bytes(content)
    check(LoadImage()(dict(img_bytes=content)), expected)
    check(LoadImage()(dict(img_path=str(tmp_path / 'image'))), expected)
    assert (decode(content) is not None) == (name in BY_TORCHVISION)


FORMATS = {
    '1': 'PNG TIFF', 'L': 'PNG TIFF WEBP GIF JPEG2000', 'LA': 'PNG TIFF', 'P': 'PNG GIF TIFF', 'PA': 'TIFF',
    'RGB': 'AVIF TGA JPEG2000', 'RGBA': 'PNG WEBP TIFF', 'CMYK': 'TIFF', 'YCbCr': 'TIFF', 'I': 'TIFF', 'I;16': 'PNG TIFF PPM',
    'F': 'TIFF'}


@pytest.mark.parametrize('mode, form', [(mode, form) for mode, forms in FORMATS.items() for form in forms.split()])
def test_modes_and_formats_are_read_as_by_pillow_or_refused(mode, form):
    image = Image.open(io.BytesIO(encode(form='PNG')))
    if mode == 'PA':
        image = image.convert('P').convert('PA')
    elif mode[0] in 'IF':
        image = Image.fromarray(np.asarray(image)[..., 0].astype({'I': np.int32, 'I;16': np.uint16, 'F': np.float32}[mode]) * 256)
    else:
        image = image.convert(mode)
    if 'A' in mode and mode != 'PA':
        image.putalpha(Image.linear_gradient('L').resize(image.size))
    buffer = io.BytesIO()
    try:
        # Pillow 12 cannot read the YCbCr that it wrote uncompressed.
        image.save(buffer, form, **(dict(compression='tiff_lzw') if mode == 'YCbCr' else {}))
    except KeyError:
        pytest.skip(f'this Pillow writes no {form}')
    content = buffer.getvalue()
    if mode[0] not in 'IF':
        check(LoadImage()(dict(img_bytes=content)), pillow(content))
        return
    for backend in ('pillow', 'cv2'):
        for ignored in (False, True):
            with pytest.raises(DataError, match=r"^more than 8 bits a pixel \(Pillow's mode \S+\): values above 255 would become "
                                                r"white \| img_path='deep' \| scale it to 8 bits first$"):
                LoadImage(backend, ignore_empty=ignored)(dict(img_bytes=content, img_path='deep'))
    img = LoadImage('pillow', color_type='unchanged')(dict(img_bytes=content))['img']
    np.testing.assert_array_equal(img, np.asarray(image))


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
    for color_type in ('grayscale', 'color_ignore_orientation', 'unchanged', 'grayscale_ignore_orientation'):
        img = LoadImage(color_type=color_type)(dict(img_bytes=content))['img']
        np.testing.assert_array_equal(img, mmcv.imfrombytes(content, flag=color_type, backend='pillow'))
    with pytest.raises(DataError, match='ValueError: flag must be "color", "grayscale"'):
        LoadImage(color_type='colour')(dict(img_bytes=content))


def test_mmcvs_loader_becomes_ours_with_its_own_backend():
    load = dict(type='LoadImageFromFile', color_type='grayscale')
    several = dict(type='TestTimeAug', transforms=[[dict(type='mmcv.LoadImageFromFile', imdecode_backend='pillow')]])
    config = ConfigDict(batch_size=2, dataset=dict(datasets=[
        dict(pipeline=[load, several]), dict(dataset=dict(pipeline=(dict(type=LoadImageFromFile), )))]))
    before = copy.deepcopy(config)
    one, other = with_own_loader(config)['dataset']['datasets']
    assert config == before
    assert one['pipeline'][0] == dict(type='nepa_mm.LoadImage', color_type='grayscale', imdecode_backend='cv2')
    assert one['pipeline'][1]['transforms'] == [[dict(type='nepa_mm.LoadImage', imdecode_backend='pillow')]]
    assert other['dataset']['pipeline'] == (dict(type='nepa_mm.LoadImage', imdecode_backend='cv2'), )
    content = encode('CMYK')
    np.testing.assert_array_equal(LoadImage('cv2')(dict(img_bytes=content))['img'], mmcv.imfrombytes(content, backend='cv2'))


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


def test_without_torchvisions_decoder_pillow_gives_the_same_pixels(monkeypatch):
    def absent(*_):
        raise AttributeError("'_OpNamespace' 'image' object has no attribute 'decode_jpeg'")

    monkeypatch.setattr(torch.ops.image, 'decode_jpeg', absent)
    monkeypatch.setattr(load_image, 'torchcodec_decoder', lambda: None)
    assert decode(BY_TORCHVISION['colour']) is None
    check(LoadImage()(dict(img_bytes=BY_TORCHVISION['colour'])), pillow(BY_TORCHVISION['colour']))


def test_without_torchvisions_decoder_torchcodec_gives_the_same_pixels(monkeypatch):
    pytest.importorskip('torchcodec.decoders')
    monkeypatch.setattr(load_image, 'torch', SimpleNamespace(ops=SimpleNamespace(image=SimpleNamespace())))
    assert LoadImage().decoder == 'torchcodec'
    for name, content in BY_TORCHVISION.items():
        assert (decode(content) is None) == name.startswith('not turned')
        check(LoadImage()(dict(img_bytes=content)), pillow(content))
    assert all(decode(content) is None for content in BY_PILLOW.values())


def test_it_says_what_decodes(monkeypatch):
    monkeypatch.setattr(load_image, 'codec', lambda: None)
    whole = f'torchvision {torchvision.__version__}'
    assert LoadImage().decoder == whole
    assert LoadImage(whole=False).decoder == f'{whole}; crops alone take less time, pip install nvidia-nvimgcodec-cu13'
    assert LoadImage('cv2', whole=False).decoder == 'cv2 (imdecode_backend)'
    assert LoadImage(color_type='grayscale', whole=False).decoder == 'Pillow'
    monkeypatch.setattr(load_image, 'codec', lambda: SimpleNamespace(__version__='0.9.0'))
    assert LoadImage(whole=False).decoder == 'nvImageCodec 0.9.0, each crop alone'


@pytest.mark.parametrize('kwargs', [dict(imdecode_backend='cv2'), dict(color_type='grayscale'), dict(to_float32=True)], ids=str)
def test_what_others_decode_is_not_left_encoded(kwargs):
    content = BY_TORCHVISION['colour']
    expected = LoadImage(**kwargs)(dict(img_bytes=content))['img']
    np.testing.assert_array_equal(LoadImage(whole=False, **kwargs)(dict(img_bytes=content))['img'], expected)


@pytest.mark.parametrize('name', ['CMYK', 'PNG', 'palette'])
def test_other_kinds_are_not_left_encoded(name):
    check(LoadImage(whole=False)(dict(img_bytes=BY_PILLOW[name])), pillow(BY_PILLOW[name]))
