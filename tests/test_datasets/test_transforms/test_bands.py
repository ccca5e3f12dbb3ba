"""Bands as they lie in files of many kinds, and files that hold none."""
import io

import cv2
import numpy as np
import pytest
import tifffile
from PIL import Image

from nepa_mm.datasets import LoadImage
from nepa_mm.datasets.transforms.bands import decode_bands, layout_of
from nepa_mm.errors import ConfigError, DataError

BANDS = np.random.default_rng(0).integers(0, 60000, (20, 30, 12)).astype(np.uint16)
BYTES = (BANDS // 256).astype(np.uint8)


def tiff(pixels, **kwargs) -> bytes:
    file = io.BytesIO()
    tifffile.imwrite(file, pixels, **kwargs)
    return file.getvalue()


def first(pixels):
    """Bands before rows and columns."""
    return np.ascontiguousarray(pixels.transpose(2, 0, 1))


def contiguous(pixels, **kwargs) -> bytes:
    return tiff(pixels, photometric='minisblack', planarconfig='contig', **kwargs)


def png(pixels) -> bytes:
    """Of RGB, or of RGB and a fourth channel."""
    order = [2, 1, 0, 3][:pixels.shape[2]] if pixels.shape[2] > 1 else [0]
    return cv2.imencode('.png', pixels[..., order])[1].tobytes()


FILES = dict(
    contiguous=(contiguous(BANDS), BANDS),
    separate=(tiff(first(BANDS), photometric='minisblack', planarconfig='separate'), BANDS),
    pages=(tiff(first(BANDS)), BANDS),
    written_as_it_was=(tiff(BANDS), BANDS),  # which tifffile writes as 20 pages of 30 x 12
    tiles=(contiguous(BANDS, tile=(16, 16), compression='lzw', predictor=True), BANDS),
    deflated=(contiguous(BANDS, compression='zlib'), BANDS),
    big=(contiguous(BANDS, bigtiff=True), BANDS),
    big_endian=(contiguous(BANDS, byteorder='>'), BANDS),
    rgb_of_16_bits=(tiff(BANDS[..., :3], photometric='rgb'), BANDS[..., :3]),
    one_of_16_bits=(tiff(BANDS[..., 0]), BANDS[..., :1]),
    one_in_an_axis=(tiff(BANDS[..., :1]), BANDS[..., :1]),
    floats=(contiguous(BANDS / np.float32(7)), BANDS / np.float32(7)),
    doubles=(contiguous(BANDS / 2), BANDS / np.float32(2)),
    negative=(contiguous(BANDS.astype(np.int32) - 9999), BANDS.astype(np.float32) - 9999),
    rgb_and_infrared=(tiff(BYTES[..., :4], photometric='rgb', extrasamples=['unspecified']), BYTES[..., :4]),
    four_of_8_bits=(contiguous(BYTES[..., :4]), BYTES[..., :4]),
    named_axis=(tiff(first(BYTES[..., :4]), photometric='minisblack', metadata=dict(axes='CYX')), BYTES[..., :4]),
    png_of_16_bits=(png(BANDS[..., :1]), BANDS[..., :1]),
    png_of_48_bits=(png(BANDS[..., :3]), BANDS[..., :3]),
    turned=(contiguous(BANDS, extratags=[(274, 'H', 1, 6, True)]), np.rot90(BANDS, -1)),
)
PHOTOS = dict(
    rgb=(tiff(BYTES[..., :3], photometric='rgb'), BYTES[..., :3]),
    transparent=(tiff(BYTES[..., :4], photometric='rgb'), BYTES[..., :4]),
    grey=(tiff(BYTES[..., 0]), BYTES[..., :1]),
    png=(png(BYTES[..., :4]), BYTES[..., :4]),
)


@pytest.mark.parametrize('name', [*FILES, *PHOTOS])
def test_what_is_in_the_file(name):
    content, expected = {**FILES, **PHOTOS}[name]
    found, layout = decode_bands(content, ''), layout_of(io.BytesIO(content), '')
    np.testing.assert_array_equal(found, expected)
    assert found.dtype == (np.uint8 if expected.dtype == np.uint8 else np.float32) and found.flags.c_contiguous
    assert layout.channels == found.shape[2] and layout.is_photo == (name in PHOTOS)
    assert layout.size[::-1 if layout.orientation == 1 else 1] == found.shape[:2]


@pytest.mark.parametrize('name', PHOTOS)
def test_photos_are_rgb_unless_told(name):
    content, expected = PHOTOS[name]
    rgb = expected[..., :3] if expected.shape[2] > 1 else expected.repeat(3, 2)
    np.testing.assert_array_equal(LoadImage()(dict(img_bytes=content))['img'][..., ::-1], rgb)
    np.testing.assert_array_equal(LoadImage(channels=expected.shape[2])(dict(img_bytes=content))['img'], expected)


def test_pages_that_nothing_calls_bands_are_pictures():
    content = tiff(first(BYTES), photometric='minisblack', metadata=None)
    assert layout_of(io.BytesIO(content), '').is_photo
    np.testing.assert_array_equal(LoadImage()(dict(img_bytes=content))['img'][..., 0], BYTES[..., 0])


def unfit(*values) -> bytes:
    pixels = BANDS.astype(np.float32)
    pixels.flat[:len(values)] = values
    return contiguous(pixels)


def palette() -> bytes:
    file = io.BytesIO()
    Image.fromarray(BYTES[..., 0]).convert('P').save(file, 'PNG')
    return file.getvalue()


@pytest.mark.parametrize('content, message', [
    (unfit(np.nan, np.inf), r'2 of 7200 values are no finite numbers \(NaN or infinite\) \| .*a.tif.* \| write a number'),
    (contiguous(BANDS.astype(np.float64) * 1e40), 'values are no finite numbers'),
    (palette(), 'numbers of a palette, which are no values of bands .* save its colours, as RGB'),
    (tiff(BYTES[..., 0], photometric='palette', colormap=np.zeros((3, 256), np.uint16)), 'numbers of a palette'),
    (contiguous(BANDS.astype(np.complex64)), 'values of complex64, which are no real numbers'),
    (tiff(np.zeros((5, 4, 20, 30), np.uint16)), r'a TIFF of 5 x 4 x 20 x 30 numbers \(axes QSYX\), and images have rows'),
    (contiguous(BANDS)[:5000], r'it cannot be read as an image \(ValueError: failed to read'),
    (b'II*\0', 'it cannot be read as an image'),
    (contiguous(BANDS[..., :4]), 'it has 4 channels, not 12 .* in_channels of the backbone'),
])
def test_files_that_hold_no_such_bands(content, message, tmp_path):
    (tmp_path / 'a.tif').write_bytes(content)
    with pytest.raises(DataError, match=message) as error:
        LoadImage(channels=12)(dict(img_path=str(tmp_path / 'a.tif')))
    assert '\n' not in str(error.value)


def test_orientation_goes_to_the_label_map():
    content, expected = FILES['turned']
    results = LoadImage(channels=12)(dict(img_bytes=content, seg_map_path='map.png'))
    assert results['orientation'] == 6 and results['img_shape'] == results['ori_shape'] == expected.shape[:2]


@pytest.mark.parametrize('arguments', [dict(channels=0), dict(channels='4'), dict(channels=4, imdecode_backend='cv2'),
                                       dict(channels=1, color_type='grayscale')])
def test_channels_that_cannot_be(arguments):
    with pytest.raises(ConfigError, match=r'LoadImage.channels'):
        LoadImage(**arguments)
