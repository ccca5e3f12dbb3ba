import argparse
import json

import pytest

from nepa_mm.analysis.runs.json_file import JsonFile


def test_the_folder_is_made_before_anything_is_measured(tmp_path):
    file = JsonFile(str(tmp_path / 'new/figures.json'))
    assert (tmp_path / 'new').is_dir()
    file.write(dict(rows=[1.5]))
    assert json.loads(file.path.read_text()) == dict(rows=[1.5])


def test_what_cannot_be_written_is_refused_at_once(tmp_path):
    (tmp_path / 'file').write_text('')
    below_a_file = tmp_path / 'file/figures.json'
    for path, message in ((tmp_path, 'is a folder'), (below_a_file, r'cannot be written \((Not a dir|File ex)')):
        with pytest.raises(argparse.ArgumentTypeError, match=f"^'{path}' {message}"):
            JsonFile(str(path))
