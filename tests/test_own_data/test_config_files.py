"""Lines of a config, and files that are not written over."""
import pytest

from nepa_mm.errors import ConfigError
from nepa_mm.own_data.config_files import Code, ConfigFiles, class_lines, code, laid_out, text_of


def test_values_stand_as_a_person_writes_them():
    assert code(dict(a=[1.5] * 3, b=Code('name'), c=('x', ), d={255: 1})) == "dict(a=[1.5] * 3, b=name, c=('x',), d={255: 1})"


@pytest.mark.parametrize('text', ['a, (b', 'it\'s "(b"', 'ends in \\'])
def test_long_lines_are_broken_at_their_commas(text):
    line = 'images = ' + code(dict(first=dict(text=text, numbers=list(range(60))), second='x' * 40))
    lines = laid_out(line)
    assert max(map(len, lines)) <= 130 and lines[0] == 'images = dict(' and lines[-1] == f"    second='{'x' * 40}')"
    names = {}
    exec('\n'.join(lines), names)
    assert names['images'] == dict(first=dict(text=text, numbers=list(range(60))), second='x' * 40)


@pytest.mark.parametrize('value', [
    dict(root='/share/' + 'long/' * 25 + 'photos (copy)/[new]', other=1), dict(one=('x' * 140, ), other=1),
    dict(numbers=list(range(60)), last={'a name': dict(), 'another': 'x' * 90})])
def test_broken_lines_keep_their_value(value):
    names = {}
    exec(text_of([f'images = {code(value)}']), names)
    assert names['images'] == value


def test_many_classes_have_a_list_of_their_own(tmp_path):
    files = ConfigFiles(tmp_path / 'pets.py')
    assert class_lines(['cat', 'dog'], files) == ["classes = ['cat', 'dog']"] and not files.lists
    assert 'pets_classes.txt' in class_lines([f'class {i}' for i in range(100)], files)[0]
    assert files.lists['classes.txt'].splitlines()[99] == 'class 99'


def test_nothing_is_written_over(tmp_path):
    files = ConfigFiles(tmp_path / 'pets.py', {'train.txt': ''})
    files.require_new()
    (tmp_path / 'pets_train.txt').write_text('mine')
    with pytest.raises(ConfigError, match='pets_train.txt'):
        files.require_new()
