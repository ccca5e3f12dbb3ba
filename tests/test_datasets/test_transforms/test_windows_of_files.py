"""Loaders that leave TIFF files where they are: the crops of the whole image and label map, to the bit."""
import struct

import cv2
import numpy as np
import pytest
import tifffile
import torch
from mmengine.dataset import Compose
from mmengine.registry import DefaultScope, init_default_scope
from PIL import Image

from nepa_mm.datasets import LoadImage, LoadSegAnnotations, RandomCrop, RandomResizedCropFlip, tiff_windows
from nepa_mm.datasets.tiff_windows import TiffWindows
from nepa_mm.datasets.transforms.encoded_jpeg import EncodedJpeg, codec
from nepa_mm.errors import ConfigError, DataError

SIZE = (90, 130)  # H, W


@pytest.fixture(autouse=True)
def scope():
    init_default_scope('mmseg')
    yield
    DefaultScope._instance_dict.clear()


def blocks(most: int, *bands: int) -> np.ndarray:
    """Patches of few values [H, W, bands]."""
    random = np.random.default_rng(most)
    few = random.integers(0, most, (SIZE[0] // 30, SIZE[1] // 26, *bands))
    return few.repeat(30, 0).repeat(26, 1)


def write(path, pixels, **options) -> str:
    """A TIFF of tiles."""
    photometric = 'rgb' if pixels.ndim > 2 and pixels.shape[2] in (3, 4) else 'minisblack'
    tifffile.imwrite(path, pixels, **dict(photometric=photometric, tile=(16, 32), compression='zlib') | options)
    return str(path)


def image(path, **options) -> str:
    random = np.random.default_rng(0)
    return write(path, (blocks(200, 3) + random.integers(0, 56, (*SIZE, 3))).astype(np.uint8), **options)


def four_bits(path, values: np.ndarray) -> None:
    """A grey TIFF of values [H, W] from 0 to 15, two in a byte, which tifffile does not write."""
    height, width = values.shape
    packed = (values[:, ::2] << 4 | values[:, 1::2]).astype(np.uint8).tobytes()
    tags = {256: width, 257: height, 258: 4, 259: 1, 262: 1, 273: 8, 277: 1, 278: height, 279: len(packed)}
    entries = b''.join(struct.pack('<HHII', tag, 4, 1, value) for tag, value in tags.items())
    path.write_bytes(b'II*\0' + struct.pack('<I', 8 + len(packed)) + packed + struct.pack('<H', len(tags)) + entries
                     + bytes(4))


def pair(folder, labels, **facts) -> dict:
    return dict(img_path=image(folder / 'a.tif'), seg_map_path=write(folder / 'b.tif', labels), reduce_zero_label=False,
                label_map=None, seg_fields=[]) | facts


def crops(whole: bool, facts: dict, labels: dict, seeds=range(5), **crop) -> list[dict]:
    """What crops of an image and its label map hold."""
    steps = Compose([LoadImage(whole=whole), LoadSegAnnotations(whole=whole, **labels), RandomCrop(**crop)])
    found = []
    for seed in seeds:
        np.random.seed(seed)
        found.append(steps({**facts, 'seg_fields': []}))
        found[-1]['drawn'] = np.random.randint(1 << 30)
    return found


def check_same(ours: list[dict], theirs: list[dict]) -> None:
    for one, other in zip(ours, theirs):
        assert one.keys() == other.keys()
        for key in one:
            np.testing.assert_array_equal(one[key], other[key], err_msg=key)
        assert one['gt_seg_map'].dtype == other['gt_seg_map'].dtype == np.uint8
        assert isinstance(one['img'], np.ndarray) and one['img'].flags.c_contiguous


@pytest.mark.parametrize('crop', [(32, 40), (32, 200), (200, 200), (90, 130)])
def test_crops_are_those_of_whole_images_with_the_same_random_numbers(tmp_path, crop):
    facts = pair(tmp_path, blocks(3).astype(np.uint8))
    ours, theirs = (crops(whole, facts, {}, crop_size=crop, cat_max_ratio=0.6) for whole in (False, True))
    check_same(ours, theirs)
    assert len({one['img'].tobytes() for one in ours}) > 1 or crop[0] >= SIZE[0]


@pytest.mark.parametrize('labels, options, facts', [
    (blocks(5).astype(np.uint16) * 1000, dict(values={1000: 1, 2000: 2, 3000: 255, 4000: 3}), {}),
    ((blocks(2) * 255).astype(np.uint8), dict(values={255: 1}), {}),
    (blocks(5).astype(np.uint8), {}, dict(reduce_zero_label=True, label_map={3: 7})),
    (blocks(5).astype(np.uint8), {}, dict(label_map={1: 2, 2: 1, 4: 255})),
    (blocks(200).astype(np.uint16), {}, {}),
    (np.array([[10, 20, 30], [9, 8, 7], [1, 2, 3]], np.uint8)[blocks(3)], dict(colours=[[9, 8, 7], [10, 20, 30]]), {}),
])
def test_labels_are_mapped_as_those_of_whole_maps(tmp_path, labels, options, facts):
    facts = pair(tmp_path, labels, **facts)
    check_same(*(crops(whole, facts, options, crop_size=(32, 40)) for whole in (False, True)))


def test_labels_of_four_bits_are_those_of_the_whole_map(tmp_path):
    facts = pair(tmp_path, blocks(4).astype(np.uint8))
    four_bits(tmp_path / 'b.tif', blocks(4))  # of which Pillow makes 0, 17, 34, 51
    check_same(*(crops(whole, facts, dict(values={17: 3, 34: 1, 51: 2}), crop_size=(32, 40)) for whole in (False, True)))


def test_palettes_by_number_and_by_colour(tmp_path):
    facts, colours = pair(tmp_path, blocks(3).astype(np.uint8)), [(10, 20, 30), (9, 8, 7), (1, 2, 3)]
    labels = Image.fromarray(blocks(3).astype(np.uint8), 'P')
    labels.putpalette([part for colour in colours for part in colour])
    labels.save(tmp_path / 'b.tif')
    for options in ({}, dict(colours=colours[::-1])):
        check_same(*(crops(whole, facts, options, crop_size=(32, 40)) for whole in (False, True)))
    steps = LoadSegAnnotations(whole=False)
    steps.palette = [(7, 7, 200), (10, 20, 30), (1, 2, 3)]  # of which the file has the second as 0
    with pytest.raises(DataError, match='its palette contradicts its numbers: its entry 0 is class 0, .* of class 1'):
        LoadSegAnnotations.transform(steps, {**facts, 'seg_map_path': write_large(tmp_path, labels)})


def write_large(folder, labels) -> str:
    """A palette of more pixels than are decoded as a whole."""
    path = folder / 'large.tif'
    labels.resize((4097, 4096), Image.NEAREST).save(path, compression='tiff_deflate')
    return str(path)


AS_A_WHOLE = ('turned', 'ycbcr', 'multiplied', 'four_bits')  # of which windows would be of other pixels


@pytest.mark.parametrize('kind', ['rgb', 'grey', 'transparent', 'palette', 'jpeg', *AS_A_WHOLE])
def test_pretraining_s_crops(tmp_path, kind):
    path = image(tmp_path / 'a.tif')
    if kind == 'grey':
        write(path, blocks(250).astype(np.uint8))
    elif kind == 'transparent':
        write(path, blocks(250, 4).astype(np.uint8), extrasamples=['unassalpha'])
    elif kind == 'palette':
        Image.open(path).quantize(50).save(path)
    elif kind == 'turned':
        image(path, extratags=[(274, 'H', 1, 6, True)])
    elif kind == 'ycbcr':
        Image.open(path).convert('YCbCr').save(path)
    elif kind == 'multiplied':
        write(path, blocks(250, 4).astype(np.uint8), extrasamples=['assocalpha'])
    elif kind == 'four_bits':
        four_bits(tmp_path / 'a.tif', blocks(16))
    elif kind == 'jpeg':
        path = str(tmp_path / 'a.jpg')
        Image.open(tmp_path / 'a.tif').save(path)
    crop = RandomResizedCropFlip(32)
    for seed in range(5):
        found = []
        for whole in (False, True):
            loaded = LoadImage(whole=whole)(dict(img_path=path))
            in_file = isinstance(loaded['img'], (TiffWindows, EncodedJpeg))
            assert in_file == (not whole and kind not in AS_A_WHOLE and (kind != 'jpeg' or codec() is not None))
            torch.manual_seed(seed)
            found.append(crop(loaded)['img'])
        np.testing.assert_array_equal(*found)


def test_crops_of_grey_windows(tmp_path):
    path = image(tmp_path / 'a.tif')
    found = []
    for whole in (False, True):
        loaded = LoadImage(whole=whole, color_type='grayscale')(dict(img_path=path))
        assert isinstance(loaded['img'], np.ndarray) == whole and loaded['img'].ndim == 2
        torch.manual_seed(0)
        found.append(RandomResizedCropFlip(32)(loaded)['img'])
    np.testing.assert_array_equal(*found)


def test_a_crop_of_segmentation_decodes_no_more_of_a_jpeg(tmp_path):
    facts = pair(tmp_path, blocks(3).astype(np.uint8))
    facts['img_path'] = str(tmp_path / 'a.jpg')
    Image.open(tmp_path / 'a.tif').save(facts['img_path'], quality=95)
    for crop in ((32, 40), (200, 200)):
        check_same(*(crops(whole, facts, {}, crop_size=crop, cat_max_ratio=0.75) for whole in (False, True)))


def test_what_does_not_fit_is_refused(tmp_path, monkeypatch):
    facts = pair(tmp_path, blocks(300).astype(np.uint16))
    with pytest.raises(DataError, match=r'labels \[\d+.* of which mmseg keeps eight bits .* \| seg_map_path='):
        crops(False, facts, {}, crop_size=(90, 130))
    with pytest.raises(ConfigError, match='maps what reduce_zero_label=True'):
        crops(False, dict(facts, reduce_zero_label=True), dict(values={3: 1}), crop_size=(32, 40))
    for large in (tiff_windows.LARGE, 0):  # decoded as a whole or not
        for module in ('tiff_windows', 'transforms.label_windows'):
            monkeypatch.setattr(f'nepa_mm.datasets.{module}.LARGE', large)
        smaller = dict(facts, seg_map_path=write(tmp_path / 'c.tif', blocks(3)[:80].astype(np.uint8)))
        with pytest.raises(DataError, match=r"^130x80 pixels, but img_path='.*a.tif' has 130x90 \| seg_map_path='.*c.tif'"):
            crops(False, smaller, {}, crop_size=(32, 40))
    cv2.imwrite(str(tmp_path / 'b.png'), blocks(3))
    with pytest.raises(DataError, match=r'^130x90 pixels, PNG, of which no windows can be read \| seg_map_path=.* \| save'):
        crops(False, dict(facts, seg_map_path=str(tmp_path / 'b.png')), {}, crop_size=(32, 40))
    floats = dict(facts, seg_map_path=write(tmp_path / 'd.tif', blocks(3).astype(np.float32)))
    with pytest.raises(DataError, match=r'^1 bands of float32, MINISBLACK: a label map has one, of .* \| seg_map_path='):
        crops(False, floats, {}, crop_size=(32, 40))
    deep = dict(facts, img_path=write(tmp_path / 'e.tif', blocks(3, 3).astype(np.uint16)))
    with pytest.raises(DataError, match=r'^more than 8 bits a pixel \(uint16\).* \| img_path='):
        crops(False, deep, {}, crop_size=(32, 40))


@pytest.mark.parametrize('dtype', ['uint8', 'uint16', 'float32'])
def test_bands_of_any_number_and_kind(tmp_path, dtype):
    facts = pair(tmp_path, blocks(3).astype(np.uint8))
    facts['img_path'] = write(tmp_path / 'c.tif', (blocks(3000, 5) / 12).astype(dtype), extrasamples=[0] * 4)
    found = []
    for whole in (False, True):
        load = LoadImage(whole=whole, channels=5)
        steps = Compose([load, LoadSegAnnotations(whole=whole), RandomCrop(crop_size=(32, 40))])
        np.random.seed(0)
        found.append(steps({**facts, 'seg_fields': []}))
        torch.manual_seed(0)
        found[-1]['pretraining'] = RandomResizedCropFlip(16)(load(dict(img_path=facts['img_path'])))['img']
    check_same(found[:1], found[1:])
    assert found[0]['img'].dtype == (np.uint8 if dtype == 'uint8' else np.float32) and found[0]['img'].shape == (32, 40, 5)


def test_other_bands_and_numbers_that_are_none_are_refused(tmp_path):
    values = blocks(3000, 5).astype(np.float32)
    values[8, 9, 2] = np.nan
    path = write(tmp_path / 'a.tif', values, extrasamples=[0] * 4)
    with pytest.raises(DataError, match='5 channels in its first image, and not 4 channels'):
        LoadImage(channels=4).windows(path)
    windows = LoadImage(channels=5).windows(path)
    assert windows[:8].shape == (8, SIZE[1], 5)
    with pytest.raises(DataError, match='no finite numbers'):
        windows[:9]
    path = write(tmp_path / 'complex.tif', values.astype(np.complex64), extrasamples=[0] * 4)
    with pytest.raises(DataError, match='values of complex64, which are no real numbers'):
        LoadImage(channels=5).windows(path)[:8]


@pytest.mark.parametrize('color_type, backend', [('unchanged', 'pillow'), ('grayscale', 'pillow'), ('color', 'cv2')])
def test_other_ways_to_load(tmp_path, color_type, backend):
    load = LoadImage(imdecode_backend=backend, color_type=color_type, to_float32=backend == 'cv2')
    whole = load(dict(img_path=image(tmp_path / 'a.tif')))['img']
    windows = load.windows(str(tmp_path / 'a.tif'))
    assert windows.shape == whole.shape and windows.dtype == whole.dtype
    np.testing.assert_array_equal(windows[5:77, 9:100], whole[5:77, 9:100])


def test_an_image_that_is_too_large_for_pillow_says_what_to_do(tmp_path, monkeypatch):
    Image.open(image(tmp_path / 'a.tif')).save(tmp_path / 'a.png')
    monkeypatch.setattr(Image, 'MAX_IMAGE_PIXELS', 1000)
    with pytest.raises(DataError, match=r"DecompressionBombError: .* \| img_path='.*a.png' \| cut it into pieces, or save"):
        LoadImage(whole=False)(dict(img_path=str(tmp_path / 'a.png')))
