"""Parts of a JPEG are Pillow's pixels, and what cannot be decoded in parts is left to the other decoders."""
import io
import itertools
import random
import subprocess
import sys

import cv2
import numpy as np
import pytest
from PIL import Image, ImageOps

from nepa_mm.datasets import LoadImage
from nepa_mm.datasets.transforms import encoded_jpeg
from nepa_mm.datasets.transforms.encoded_jpeg import LEAST, EncodedJpeg, codec
from nepa_mm.errors import DataError
from tiny import WARNED, needs_sample, real_images

pytestmark = pytest.mark.skipif(codec() is None, reason='nvImageCodec is not installed')
SAMPLING = {name: getattr(cv2, f'IMWRITE_JPEG_SAMPLING_FACTOR_{name}') for name in ('411', '420', '422', '440', '444')}
SIZES = ((1, 1), (2, 97), (97, 1), (17, 33), (75, 130), (64, LEAST), (48, LEAST + 1))


def pixels(height: int, width: int) -> np.ndarray:
    """Colours of a picture with much detail."""
    y, x = np.mgrid[:height, :width]
    noise = np.random.default_rng(0).normal(0, 50, (height, width, 3))
    return (np.stack([3 * x, 5 * y, 255 - x], axis=-1) + noise).clip(0, 255).astype(np.uint8)


def encode(size: tuple[int, int], sampling: str = '420', *options: int) -> bytes:
    return cv2.imencode('.jpg', pixels(*size), [cv2.IMWRITE_JPEG_SAMPLING_FACTOR, SAMPLING[sampling], *options])[1].tobytes()


def by_pillow(size: tuple[int, int], mode: str = 'RGB', form: str = 'JPEG', **options) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels(*size)).convert(mode).save(buffer, form, **options)
    return buffer.getvalue()


def boxes(height: int, width: int, count: int):
    """Left, top, width and height: all that touch edges or are a pixel, and some that do not."""
    draw = random.Random(0)
    spans = [[(0, side), (0, 1), (side - 1, 1), (side // 2, side - side // 2)] for side in (width, height)]
    for (left, w), (top, h) in itertools.product(*spans):
        yield left, top, w, h
    for _ in range(count):
        w, h = draw.randint(1, width), draw.randint(1, height)
        yield draw.randint(0, width - w), draw.randint(0, height - h), w, h


def check(content: bytes, count: int = 10) -> None:
    expected = np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(content))).convert('RGB'))
    encoded = EncodedJpeg.of(content)
    assert encoded.shape == expected.shape
    np.testing.assert_array_equal(encoded.copy(), expected[..., ::-1])
    for left, top, width, height in boxes(*expected.shape[:2], count):
        region = encoded.region(left, top, width, height)
        np.testing.assert_array_equal(region, expected[top:top + height, left:left + width])
        assert region.dtype == np.uint8


@pytest.mark.parametrize('sampling', SAMPLING)
@pytest.mark.parametrize('size', SIZES, ids=str)
def test_parts_are_pillows_pixels(sampling, size):
    for options in ((), (cv2.IMWRITE_JPEG_QUALITY, 30), (cv2.IMWRITE_JPEG_RST_INTERVAL, 2)):
        check(encode(size, sampling, *options))


@pytest.mark.parametrize('content', [
    by_pillow((43, 61), 'L'), by_pillow((43, 61), keep_rgb=True), by_pillow((43, 61), comment=b'x' * 3000),
    by_pillow((43, 61)) + b'\xff\xd8 more', by_pillow((43, 61), optimize=True)],
                         ids=['grey', 'RGB', 'comment', 'more', 'own codes'])
def test_parts_of_other_kinds(content):
    check(content)


@pytest.mark.parametrize('orientation', range(1, 9))
def test_parts_of_a_turned_photograph_are_of_what_is_shown(orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    for size in ((43, 90), (90, 43)):
        check(by_pillow(size, exif=exif))


@needs_sample
def test_parts_of_real_images():
    found = [EncodedJpeg.of(content) for content in real_images()]
    assert sum(encoded is None for encoded in found) < 10
    for encoded in [encoded for encoded in found if encoded][::10]:
        check(encoded.content, 3)


PLAIN = encode((75, 130))
WHOLE = {
    'progressive': encode((75, 130), '420', cv2.IMWRITE_JPEG_PROGRESSIVE, 1), 'CMYK': by_pillow((43, 61), 'CMYK'),
    'PNG': by_pillow((43, 61), form='PNG'), 'GIF': by_pillow((43, 61), 'P', form='GIF'), 'nothing': b'', 'text': b'no image',
    'two bytes': PLAIN[:2], 'header': PLAIN[:300], 'frame cut off': PLAIN[:PLAIN.index(b'\xff\xc0') + 7],
    '12 bits': PLAIN.replace(b'\xff\xc0\0\x11\x08', b'\xff\xc0\0\x11\x0c'),
    'height unknown': PLAIN.replace(b'\xff\xc0\0\x11\x08\0\x4b', b'\xff\xc0\0\x11\x08\0\0'),
    'arithmetic': PLAIN.replace(b'\xff\xc0', b'\xff\xc9'), 'no frame': PLAIN.replace(b'\xff\xc0', b'\xff\xe9'),
    'bad EXIF': by_pillow((43, 61), exif=b'Exif\0\0II*\0\xff\xff\xff\xff')}


@pytest.mark.parametrize('name', WHOLE)
def test_other_files_are_decoded_as_a_whole(name):
    found = EncodedJpeg.of(WHOLE[name])
    assert found is None or name == 'bad EXIF'  # which is none


def test_a_file_that_is_cut_off_is_an_error_as_before():
    for end in range(len(PLAIN) - 1, 2, -97):
        assert EncodedJpeg.of(PLAIN[:end]) is None
        with pytest.raises(DataError, match='it cannot be read as an image'):
            LoadImage()(dict(img_bytes=PLAIN[:end]))


def test_what_turns_out_to_be_broken_is_left_to_the_others():
    place = PLAIN.index(b'\xff\xc4') + 5
    broken = PLAIN[:place] + b'\xff' * 16 + PLAIN[place + 16:]  # no such codes
    assert EncodedJpeg.of(broken).region(0, 0, 9, 9) is None


def test_it_is_quiet_and_starts_no_thread_so_that_it_may_be_forked(tmp_path):
    (tmp_path / 'a.jpg').write_bytes(PLAIN)
    code = f"""
import os
from nepa_mm.datasets.transforms.encoded_jpeg import EncodedJpeg
content, threads = open({str(tmp_path / 'a.jpg')!r}, 'rb').read(), len(os.listdir('/proc/self/task'))
assert EncodedJpeg.of(content).region(1, 2, 3, 4).shape == (4, 3, 3)
assert len(os.listdir('/proc/self/task')) == threads
assert not {{'NVIMGCODEC_EXTENSIONS_PATH', 'PYNVIMGCODEC_VERBOSITY'}} & set(os.environ)
if os.fork() == 0:
    os._exit(7 if EncodedJpeg.of(content).region(1, 2, 3, 4).shape == (4, 3, 3) else 1)
assert os.waitstatus_to_exitcode(os.wait()[1]) == 7
"""
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True)
    assert done.returncode == 0 and not WARNED.sub('', done.stderr) and not done.stdout, done.stderr + done.stdout


def test_without_it_files_are_decoded_as_a_whole(monkeypatch):
    monkeypatch.setattr(encoded_jpeg, 'codec', lambda: None)
    assert EncodedJpeg.of(PLAIN) is None


def test_an_image_with_a_label_map_stays_encoded_too(tmp_path):
    (tmp_path / 'a.jpg').write_bytes(encode((64, LEAST)))
    loaded = LoadImage(whole=False)(dict(img_path=str(tmp_path / 'a.jpg'), seg_map_path='b.png'))
    assert isinstance(loaded['img'], EncodedJpeg) and loaded['orientation'] == 1
