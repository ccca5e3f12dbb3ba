"""Windows of a TIFF are those of the whole image, whatever is in the file; files that make windows dear are refused."""
import os

import numpy as np
import pytest
import tifffile
from PIL import Image

from nepa_mm.datasets import tiff_windows
from nepa_mm.datasets.tiff_windows import TiffWindows
from nepa_mm.errors import DataError

PLACES = [(0, 1, 0, 1), (0, 97, 0, 131), (15, 33, 16, 80), (90, 97, 120, 131), (31, 32, 5, 130)]
LAYOUTS = dict(
    tiles=dict(tile=(32, 48), photometric='rgb'),
    deflated=dict(tile=(32, 48), photometric='rgb', compression='zlib', predictor=True),
    strips=dict(rowsperstrip=7, photometric='rgb'),
    one_strip=dict(photometric='rgb'),
    deflated_strips=dict(rowsperstrip=13, photometric='rgb', compression='zlib'),
    big=dict(tile=(16, 16), photometric='rgb', bigtiff=True),
    big_endian=dict(rowsperstrip=7, photometric='rgb', byteorder='>'))


def values(dtype='uint8', bands=3) -> np.ndarray:
    """A drawn image [97, 131, bands]; [97, 131] of one."""
    drawn = np.random.default_rng(0).integers(0, 256, (97, 131, bands))
    return (drawn * (1 if dtype == 'uint8' else 37)).astype(dtype).squeeze()


def check(path, expected) -> None:
    """All windows, whole and with steps."""
    pixels = TiffWindows(path)
    assert pixels.shape == expected.shape and pixels.dtype == expected.dtype and pixels.ndim == expected.ndim
    for top, bottom, left, right in PLACES:
        window = pixels[top:bottom, left:right]
        np.testing.assert_array_equal(window, expected[top:bottom, left:right])
        assert window.dtype == expected.dtype
    np.testing.assert_array_equal(pixels[10:60:3, ::5, ...], expected[10:60:3, ::5])
    np.testing.assert_array_equal(np.concatenate(list(pixels.rows(20_000))), expected)


@pytest.mark.parametrize('layout', LAYOUTS)
@pytest.mark.parametrize('dtype', ['uint8', 'uint16'])
def test_layouts(tmp_path, layout, dtype):
    image = values(dtype)
    tifffile.imwrite(tmp_path / 'a.tif', image, **LAYOUTS[layout])
    check(tmp_path / 'a.tif', image)


@pytest.mark.parametrize('dtype', ['uint8', 'uint16', 'float32'])
@pytest.mark.parametrize('tile', [None, (32, 32)])
def test_bands_apart_and_one_band(tmp_path, dtype, tile):
    image = values(dtype, 5)
    tifffile.imwrite(tmp_path / 'a.tif', np.moveaxis(image, 2, 0), planarconfig='separate', photometric='minisblack', tile=tile,
                     extrasamples=[0] * 4)
    check(tmp_path / 'a.tif', image)
    tifffile.imwrite(tmp_path / 'b.tif', image[..., 0], photometric='minisblack', tile=tile)
    check(tmp_path / 'b.tif', image[..., 0])


def test_palette_of_pillow_and_its_numbers(tmp_path):
    labels = Image.fromarray(values(bands=1) % 7).convert('P')
    labels.putpalette([10, 20, 30, 40, 50, 60, 70, 80, 90] + [0] * 759)
    labels.save(tmp_path / 'a.tif')
    check(tmp_path / 'a.tif', np.asarray(labels))
    np.testing.assert_array_equal(TiffWindows(tmp_path / 'a.tif').palette[:3], [[10, 20, 30], [40, 50, 60], [70, 80, 90]])


def test_a_mapped_window_goes_through_the_functions_in_order(tmp_path):
    image = values(bands=1)
    tifffile.imwrite(tmp_path / 'a.tif', image, photometric='minisblack', tile=(16, 16))
    pixels = TiffWindows(tmp_path / 'a.tif')
    colours = pixels.mapped(lambda window: window // 2).mapped(lambda window: np.stack([window, window + 1], 2), 2)
    assert colours.shape == (97, 131, 2) and pixels.shape == (97, 131)
    np.testing.assert_array_equal(colours[3:50, 7:100, ::-1], np.stack([image // 2 + 1, image // 2], 2)[3:50, 7:100])


def test_pieces_are_kept_up_to_a_limit_and_outside_ones_never_read(tmp_path, monkeypatch):
    image = values()
    tifffile.imwrite(tmp_path / 'a.tif', image, photometric='rgb', tile=(16, 16), compression='zlib')
    reads, pread = [], os.pread
    monkeypatch.setattr(tiff_windows, 'KEPT', 4 * 16 * 16 * 3)
    monkeypatch.setattr(tiff_windows.os, 'pread', lambda *args: reads.append(args[2]) or pread(*args))
    pixels = TiffWindows(tmp_path / 'a.tif')
    pixels[20:40, 20:40]  # of 2 x 2 tiles
    assert len(reads) == 4
    pixels[16:48, 16:48]
    assert len(reads) == 4
    pixels[0:97, 0:131]
    assert len(reads) == 4 + 7 * 9 and pixels.kept_bytes <= 4 * 16 * 16 * 3 and len(pixels.kept) == 4


def test_an_uncompressed_strip_of_any_size_is_read_in_parts(tmp_path, monkeypatch):
    image = values()
    tifffile.imwrite(tmp_path / 'a.tif', image, photometric='rgb')
    monkeypatch.setattr(tiff_windows, 'LARGEST_PIECE', 100)
    pixels = TiffWindows(tmp_path / 'a.tif')
    np.testing.assert_array_equal(pixels[5:9, 3:50], image[5:9, 3:50])
    assert [len(part) for part in pixels.rows(10 * 131 * 3)] == [10] * 9 + [7]


@pytest.mark.parametrize('compression', ['lzw', 'jpeg', 'zstd'])
def test_compressions_of_imagecodecs(tmp_path, compression):
    pytest.importorskip('imagecodecs')
    image = values()
    tifffile.imwrite(tmp_path / 'a.tif', image, photometric='rgb', tile=(32, 48), compression=compression)
    check(tmp_path / 'a.tif', tifffile.imread(tmp_path / 'a.tif'))


def test_what_is_refused(tmp_path, monkeypatch):
    image, path = values(), tmp_path / 'a.tif'
    tifffile.imwrite(path, image, photometric='rgb', compression='zlib', rowsperstrip=97)
    monkeypatch.setattr(tiff_windows, 'LARGEST_PIECE', 1000)
    with pytest.raises(DataError, match=r'pieces of 131x97 pixels, compressed: .* \| img_path=.*a.tif.* \| save it in tiles'):
        TiffWindows(path)
    monkeypatch.undo()
    monkeypatch.setattr(tifffile.TIFF, 'DECOMPRESSORS', {})
    with pytest.raises(DataError, match=r'compression ADOBE_DEFLATE needs imagecodecs .* pip install imagecodecs'):
        TiffWindows(path)
    path.write_bytes(b'\xff\xd8\xff not a TIFF')
    with pytest.raises(DataError, match='cannot be read as a TIFF'):
        TiffWindows(path)
    tifffile.imwrite(path, np.zeros((4, 32, 32), np.uint8), volumetric=True, tile=(16, 16, 16), photometric='minisblack')
    with pytest.raises(DataError, match='no windows can be read'):
        TiffWindows(path)


@pytest.mark.parametrize('options', [dict(tile=(32, 48)), dict(tile=(32, 48), compression='zlib'), dict()])
def test_a_file_that_is_cut_off_names_the_place(tmp_path, options):
    path = tmp_path / 'a.tif'
    tifffile.imwrite(path, values(), photometric='rgb', metadata=None, **options)
    content = path.read_bytes()
    with tifffile.TiffFile(path) as tiff:
        last = tiff.pages[0].dataoffsets[-1]
    path.write_bytes(content[:last + 100])
    pixels = TiffWindows(path)
    with pytest.raises(DataError, match=r'its pixels at row \d+, column \d+ cannot be decoded'):
        pixels[90:97, 100:131]
