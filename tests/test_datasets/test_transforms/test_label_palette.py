"""Label maps that an optimiser renumbered are refused, and nothing else: most palettes say nothing about numbers."""
import numpy as np
import pytest
from PIL import Image

from nepa_mm.datasets import LoadSegAnnotations
from nepa_mm.datasets.transforms.label_palette import VOC
from nepa_mm.errors import ConfigError, DataError

CAMVID = [[128, 128, 128], [128, 0, 0], [192, 192, 128], [128, 64, 128], [60, 40, 222], [128, 128, 0], [192, 128, 128],
          [64, 64, 128], [64, 0, 128], [64, 64, 0], [0, 128, 192]]
PALETTES = dict(voc=VOC[:21], camvid=CAMVID, two=[[0, 0, 0], [255, 0, 0]], greys=[[0, 0, 0], [255, 255, 255]],
                mixed=[[255, 255, 255], [9, 9, 9], [0, 0, 0]])


def write(path, numbers, colours=None, mode='P'):
    """A label map of these numbers, with a palette that begins with these colours."""
    image = Image.fromarray(np.array([numbers] * 2, bool if mode == '1' else np.uint8), None if mode != 'L' else 'L')
    if mode == 'P':
        image.putpalette([value for colour in colours for value in colour])
    image.save(path)
    assert Image.open(path).mode == mode
    return path


def loaded(path, palette, **facts):
    load = LoadSegAnnotations(values=facts.pop('values', None))
    load.palette = palette
    return load(dict(seg_map_path=str(path), seg_fields=[], **{'reduce_zero_label': False, **facts}))['gt_seg_map'][0].tolist()


def greys(*values):
    return [(value, value, value) for value in values]


@pytest.mark.parametrize('data, numbers, colours, message', [
    ('voc', [0, 1, 2, 3], [VOC[0], VOC[3], VOC[15], VOC[255]], r'its entry 1 is class 1, in the colour \(128, 128, 0\) of '),
    ('voc', [0, 1, 2, 3], greys(0, 3, 15, 255), 'its entry 1 is the grey 3, which is the number that the map had'),
    ('voc', [0, 1], greys(0, 255), 'its entry 1 is the grey 255'),
    ('camvid', [0, 1], greys(5, 11), 'its entry 0 is the grey 5'),
    ('camvid', [0, 1, 2], [CAMVID[3], CAMVID[0], (0, 0, 0)], r'its entry 0 is class 0, in the colour .* of class 3'),
    ('two', [0, 1, 2], greys(0, 1, 255)[::2] + greys(1), 'its entry 1 is the grey 255'),
])
def test_numbers_that_colours_contradict(data, numbers, colours, message, tmp_path):
    path = write(tmp_path / 'a.png', numbers, colours)
    with pytest.raises(DataError, match=rf"^its palette contradicts .*: {message}.* \| seg_map_path='.*a.png' \| restore "
                                        r'the file .* save it in greyscale, or mend metainfo.palette$'):
        loaded(path, PALETTES[data])
    assert loaded(path, None) == numbers  # as mmseg reads it


def test_one_bit_of_grey_is_black_and_white(tmp_path):
    path = write(tmp_path / 'a.png', [0, 1], mode='1')
    with pytest.raises(DataError, match='its entry 1 is the grey 255'):
        loaded(path, PALETTES['voc'])
    assert loaded(path, PALETTES['two']) == [0, 1]  # how two classes are drawn


@pytest.mark.parametrize('data, numbers, colours', [
    ('voc', [0, 15, 20, 255], VOC),
    ('voc', [0, 2, 1], VOC[:3]),
    ('camvid', [1, 3, 11], VOC),  # as many programs paint any data; 3 is the dataset's colour of 5
    ('camvid', [1, 3], VOC[:4] + [(0, 0, 0)] * 252),  # 3 again, in a palette that is VOC's as far as it is used
    ('camvid', [0, 3, 10, 11], [*map(tuple, CAMVID), (0, 0, 0)]),
    ('camvid', [0, 4], [(0, 0, 0), (9, 8, 7), (128, 128, 128), (1, 2, 3), (250, 0, 0)]),  # 2 is in a colour of 0, and not used
    ('voc', [0, 7, 20, 255], greys(*range(256))),  # a grey map, with a palette of greys
    ('mixed', [0, 1, 2], greys(*range(256))),
    ('voc', [0, 1, 2], greys(0, 100, 200)),  # drawn for the eye
    ('two', [0, 1], greys(0, 255)),
    ('greys', [0, 1], greys(0, 255)),
])
def test_numbers_that_nothing_contradicts(data, numbers, colours, tmp_path):
    assert loaded(write(tmp_path / 'a.png', numbers, colours), PALETTES[data]) == numbers


def test_classes_are_those_that_the_numbers_become(tmp_path):
    path = write(tmp_path / 'a.png', [0, 1, 2], [(9, 9, 9), CAMVID[0], CAMVID[1]])
    assert loaded(path, CAMVID, reduce_zero_label=True) == [255, 0, 1]
    assert loaded(path, [CAMVID[1], CAMVID[0]], label_map={0: 255, 2: 0}) == [255, 1, 0]
    with pytest.raises(DataError, match=r'its entry 1 is class 1, in the colour .* of class 0'):
        loaded(path, CAMVID)


def test_values_that_are_no_labels_are_mapped(tmp_path):
    path = write(tmp_path / 'a.png', [0, 255, 7], mode='L')
    assert loaded(path, PALETTES['two'], values={255: 1}) == [0, 1, 7]
    assert loaded(write(tmp_path / 'b.png', [0, 1], greys(0, 255)), PALETTES['two'], values={255: 1}) == [0, 1]
    with pytest.raises(ConfigError, match=r'^\{255: 1\} maps what reduce_zero_label=True or .* \| values \| leave one out'):
        loaded(path, None, values={255: 1}, reduce_zero_label=True)
    with pytest.raises(ConfigError, match=r"maps '255' to 1, and label maps hold 0 to 255, of 16 bits to 65535 \| values"):
        LoadSegAnnotations(values={'255': 1})
