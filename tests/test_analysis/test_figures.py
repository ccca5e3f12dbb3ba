import argparse
import json

import pytest

from nepa_mm.analysis.figures import JsonFile, ratios


def test_the_folder_is_made_before_anything_is_measured(tmp_path):
    file = JsonFile(str(tmp_path / 'new/figures.json'))
    assert (tmp_path / 'new').is_dir()
    file.write(dict(rows=[1.5]))
    assert json.loads(file.path.read_text()) == dict(rows=[1.5])


def test_what_cannot_be_written_is_refused_at_once(tmp_path):
    (tmp_path / 'file').write_text('')
    below_a_file = tmp_path / 'file/figures.json'
    for path, message in ((tmp_path, 'it exists and would be written over'),
                          (below_a_file, r'it cannot be written \((Not a dir|File ex)')):
        with pytest.raises(argparse.ArgumentTypeError, match=rf'^{message}.* \| {path} \| '):
            JsonFile(str(path))


def test_ratios_are_between_neighbours():
    found = ratios([1., 4., 9., 8.], [1., 2., 3., 2.])
    assert found == dict(pairs=[1., 2., 3., 4.], min=1., median=2.5, max=4.)
    assert ratios([3., 2.], [1., 1.])['median'] == 2.5 and ratios([3.], [2.])['median'] == 1.5
