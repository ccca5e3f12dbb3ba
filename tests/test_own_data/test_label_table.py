"""Tables of images and labels, as people write them."""
import pytest
from drawn_data import image

from nepa_mm.errors import DataError
from nepa_mm.own_data.label_table import read_table


@pytest.fixture
def folder(tmp_path):
    for i in range(3):
        image(tmp_path / f'im ages/{i}.jpg')
    return tmp_path


def rows(folder, text, name='labels.csv'):
    (folder / name).write_text(text)
    found, several = read_table(folder / name)
    return [(row.path.name, *row.labels) for row in found], several


@pytest.mark.parametrize('text, expected, several', [
    ('im ages/0.jpg,cat\nim ages/1.jpg,dog\n', [('0.jpg', 'cat'), ('1.jpg', 'dog')], False),
    ('im ages/0.jpg,cat,wet\nim ages/1.jpg,dog\n', [('0.jpg', 'cat', 'wet'), ('1.jpg', 'dog')], True),
    ('im ages/1.jpg,dog\nim ages/0.jpg,cat,wet\n', [('1.jpg', 'dog'), ('0.jpg', 'cat', 'wet')], True),
    ('\ufefflabel;file\ncat;0.jpg\ndog;2\n', [('0.jpg', 'cat'), ('2.jpg', 'dog')], False),
    ('id,cat,dog\n0,1,0\n1,1,1\n', [('0.jpg', 'cat'), ('1.jpg', 'cat', 'dog')], True),
    ('im ages/0.jpg 3\nim ages/1.jpg 10\n', [('0.jpg', '3'), ('1.jpg', '10')], False),
])
def test_tables(folder, text, expected, several):
    assert rows(folder, text) == (expected, several)


@pytest.mark.parametrize('text, message', [
    ('path,label\n9.jpg,cat\n', r"'9.jpg' is no image in '.*' \| .*labels.csv, line 2 \| "),
    ('path,label\n0.jpg,cat\n0.jpg,dog\n', r"0.jpg' stands in line 2 too \| .*, line 3 \| "),
    ('path,label\n0.jpg,\n', "'0.jpg' has no label"),
    ('path,label,split\n0.jpg,cat,dev\n', "'dev' is no split"),
    ('path,label\n', 'lists no image'),
    ('', 'lists no image'),
    ('label,path\ncat,0.jpg\ndog\n', r'it has 1 columns of 2 \| .*labels.csv, line 3 \| '),
    ('path,label,split\n0.jpg,cat,val\n1.jpg,cat\n', r'it has 2 columns of 3 \| .*labels.csv, line 3 \| '),
    ('id,cat,dog\n0,1,0\n1,1\n', r'it has 2 columns of 3 \| .*labels.csv, line 3 \| '),
])
def test_lines_that_say_nothing(folder, text, message):
    with pytest.raises(DataError, match=message):
        rows(folder, text)
