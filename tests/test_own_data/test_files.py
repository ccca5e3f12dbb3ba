"""What files hold, and which of them no training could load."""
import os

import numpy as np
import pytest
import tifffile
from drawn_bands import bands
from drawn_data import image
from PIL import Image

from nepa_mm.datasets import tiff_windows
from nepa_mm.errors import DataError
from nepa_mm.own_data.files import image_files, look_at, require_sound
from nepa_mm.own_data.masks import mask_of


def test_sizes_statistics_copies_and_broken_files(tmp_path):
    Image.fromarray(np.full((4, 6, 3), (10, 20, 30), np.uint8)).save(tmp_path / 'a.png')
    Image.fromarray(np.full((8, 6, 3), (30, 20, 10), np.uint8)).save(tmp_path / 'sub.png')
    (tmp_path / 'b').mkdir()
    (tmp_path / 'b/a.png').write_bytes((tmp_path / 'a.png').read_bytes())
    (tmp_path / 'c.jpg').write_bytes(b'<html>')
    (tmp_path / 'notes.txt').write_text('no image')
    paths = image_files(tmp_path)
    assert [str(path.relative_to(tmp_path)) for path in paths] == ['a.png', 'b/a.png', 'c.jpg', 'sub.png']
    found = look_at(paths, workers=1)
    assert found.size == (6, 4) and found.short_side == 4 and found.total == 4
    mean, std = found.statistics()
    np.testing.assert_allclose(mean, [20, 20, 20])
    np.testing.assert_allclose(std, [10, 0, 10])
    assert found.copies() == [[tmp_path / 'a.png', tmp_path / 'b/a.png']]
    with pytest.raises(DataError, match=r"1 of 4 files cannot be loaded: .*6 bytes of no format.* \| .*/c.jpg \| .*--leave-out-"):
        require_sound(found, leave_out=False)
    assert require_sound(found, leave_out=True) == {tmp_path / 'c.jpg'}


def test_a_part_is_drawn_by_the_seed(tmp_path):
    paths = [image(tmp_path / f'{i}.png', (4, 4)) for i in range(9)]
    first, again, other = (look_at(paths, most=4, workers=1, seed=seed) for seed in (0, 0, 1))
    assert [picture.path for picture in first.looked_at] == [picture.path for picture in again.looked_at]
    assert {picture.path for picture in first.looked_at} != {picture.path for picture in other.looked_at}
    assert len(first.looked_at) == 4 and first.total == 9


@pytest.mark.parametrize('make, message', [
    (lambda folder: None, 'holds no image'),
    (lambda folder: folder.rmdir(), 'no such folder'),
])
def test_folders_that_hold_nothing(tmp_path, make, message):
    folder = tmp_path / 'data'
    folder.mkdir()
    make(folder)
    with pytest.raises(DataError, match=message):
        image_files(folder)


def test_bands_and_their_statistics(tmp_path):
    pixels = [bands(tmp_path / f'{i}.tif', 4, 'uint16') for i in range(3)]
    found = look_at(image_files(tmp_path), workers=1)
    assert found.bands == 4 and found.size == (50, 40) and not found.broken
    mean, std = found.statistics()
    values = np.stack(pixels).reshape(-1, 4).astype(np.float64)
    np.testing.assert_allclose(mean, values.mean(0))
    np.testing.assert_allclose(std, values.std(0))


@pytest.mark.parametrize('channels, expected', [(None, None), (3, None), (1, 1)])
def test_grey_photos_are_rgb_or_one_band(tmp_path, channels, expected):
    image(tmp_path / 'a.png', channels=1)
    found = look_at([tmp_path / 'a.png'], workers=1, channels=channels)
    assert found.bands == expected and len(found.statistics()[0]) == (expected or 3)


def test_images_of_several_kinds(tmp_path):
    for i in range(3):
        bands(tmp_path / f'{i}.tif', 12)
    bands(tmp_path / 'four.tif', 4)
    image(tmp_path / 'photo.png')
    bands(tmp_path / 'float.tif', 12, 'float32')
    found = look_at(image_files(tmp_path), workers=1)
    assert found.bands == 12
    assert {picture.path.name: picture.error for picture in found.broken} == {
        'four.tif': 'it has 4 x uint16, and 3 others 12 x uint16: a training takes images of one kind',
        'photo.png': 'it has RGB, and 3 others 12 x uint16: a training takes images of one kind',
        'float.tif': 'it has 12 x float32, and 3 others 12 x uint16: a training takes images of one kind'}
    with pytest.raises(DataError, match=r'3 of 6 files cannot be loaded: .* \| .*\.(tif|png) \| .*--leave-out-broken'):
        require_sound(found, leave_out=False)
    assert len(require_sound(found, leave_out=True)) == 3


@pytest.mark.parametrize('channels, message', [(4, 'it has 12 channels, not 4'), (3, 'it has 12 channels, not 3')])
def test_channels_that_files_do_not_have(tmp_path, channels, message):
    bands(tmp_path / 'a.tif', 12)
    with pytest.raises(DataError, match=f'none of 1 files can be loaded: {message}'):
        require_sound(look_at([tmp_path / 'a.tif'], workers=1, channels=channels), leave_out=False)


def test_a_nan_is_named(tmp_path):
    tifffile.imwrite(tmp_path / 'a.tif', np.full((4, 6), np.nan, np.float32))
    with pytest.raises(DataError, match=r'none of 1 files can be loaded: 24 of 24 values are no finite numbers'):
        require_sound(look_at([tmp_path / 'a.tif'], workers=1), leave_out=True)


def test_a_folder_inside_that_cannot_be_read(tmp_path, monkeypatch):
    image(tmp_path / 'a.png')
    (tmp_path / 'share').mkdir()
    scandir = os.scandir

    def stale(path):
        if str(path).endswith('share'):
            raise OSError(116, 'Stale file handle', str(path))
        return scandir(path)

    monkeypatch.setattr(os, 'scandir', stale)
    with pytest.raises(DataError, match=r'it cannot be read \(Stale file handle\) \| .*/share \| look at its rights'):
        image_files(tmp_path)


@pytest.mark.parametrize('kind', ['rgb', 'bands', 'cut'])
def test_large_tiffs_are_looked_at_in_parts_with_the_same_result(tmp_path, monkeypatch, kind):
    pixels = np.random.default_rng(0).integers(0, 256, (60, 50, 5 if kind == 'bands' else 3), np.uint8)
    options = dict(photometric='minisblack', extrasamples=[0] * 4) if kind == 'bands' else dict(photometric='rgb')
    path = tmp_path / 'a.tif'
    tifffile.imwrite(path, pixels, tile=(16, 16), compression='zlib', metadata=None, **options)
    if kind == 'cut':
        path.write_bytes(path.read_bytes()[:-1000])
    whole, = look_at([path], workers=1).looked_at
    monkeypatch.setattr(tiff_windows, 'LARGE', 1000)
    monkeypatch.setattr('nepa_mm.own_data.files.PART', 1000)
    parts, = look_at([path], workers=1).looked_at
    if kind == 'cut':
        assert whole.error and 'cannot be decoded' in parts.error
        return
    assert whole.error is parts.error is None and (parts.size, parts.layout, parts.digest) == (
        whole.size, whole.layout, whole.digest)
    for ours, theirs in zip(parts.sums, whole.sums):
        np.testing.assert_array_equal(ours, theirs)
    np.testing.assert_array_equal(parts.sums[0], pixels.sum((0, 1)))


@pytest.mark.parametrize('kind', ['values', 'deep', 'colours', 'palette'])
def test_large_label_maps_are_counted_in_parts(tmp_path, monkeypatch, kind):
    numbers = np.random.default_rng(0).integers(0, 4, (60, 50))
    colours = np.array([(0, 0, 0), (9, 8, 7), (1, 2, 3), (255, 0, 9)], np.uint8)
    path = tmp_path / 'a.tif'
    if kind == 'palette':
        image = Image.fromarray(numbers.astype(np.uint8), 'P')
        image.putpalette(colours.ravel().tolist())
        image.save(path)
    else:
        written = dict(values=numbers.astype(np.uint8), deep=(numbers * 1000).astype(np.uint16), colours=colours[numbers])[kind]
        tifffile.imwrite(path, written, tile=(16, 16), photometric='rgb' if kind == 'colours' else 'minisblack')
    whole = mask_of((path, path))
    monkeypatch.setattr(tiff_windows, 'LARGE', 1000)
    monkeypatch.setattr('nepa_mm.own_data.masks.PART', 200)
    assert mask_of((path, path)) == whole and whole.error is None and len(whole.pixels) == 4
    assert sum(whole.pixels.values()) == 3000
    counts = dict(enumerate(np.bincount(numbers.ravel()).tolist()))
    assert whole.pixels == {1000 * n if kind == 'deep' else tuple(colours[n].tolist()) if kind == 'colours' else n: count
                            for n, count in counts.items()}
