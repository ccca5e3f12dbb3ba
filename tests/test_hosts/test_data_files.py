"""YAML, pickles, lists and archives that would run code or lead outside, by the real command and the hosts' functions."""
import io
import os
import pickle
import subprocess
import sys
import tarfile
import zipfile

import pytest
from mmengine.config import Config
from mmpretrain.datasets.utils import extract_archive
from PIL import Image

import nepa_mm  # noqa: F401, which makes them safe
import runs
from nepa_mm.errors import DataError
from nepa_mm.launch.checks.data import check_data

EVIL = 'model: !!python/object/apply:os.system ["touch ran"]\n'
CONFIG = '''
default_scope = 'mmpretrain'
train_dataloader = dict(dataset=dict(type='CustomDataset', data_root='{folder}/data', pipeline=[], {dataset}))
'''


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """A working directory with an image in each of two classes, and one outside their folder."""
    for name in ('data/a/0.png', 'data/b/1.png', 'outside.png'):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new('RGB', (8, 8)).save(path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def refused(config, code):
    """The last line of the real command on a config that cannot be trained."""
    return runs.finish(runs.start(config, config.parent / 'run'), code).strip().splitlines()[-1]


@pytest.mark.parametrize('name', ['evil.yaml', 'evil.yml', 'with_base.py'])
def test_a_yaml_config_runs_nothing(name, folder):
    (folder / 'evil.yaml').write_text(EVIL)
    (folder / 'evil.yml').write_text(EVIL)
    (folder / 'with_base.py').write_text('_base_ = "evil.yaml"\n')
    line = refused(folder / name, 2)
    assert line.startswith('nepa_mm: error: no plain data: ') and 'os.system' in line, line
    assert line.endswith(f'; nothing was run | {folder}/{name}, a YAML file | write it without tags')
    assert not (folder / 'ran').exists()


def test_stock_mmengine_runs_it(folder):
    (folder / 'evil.yaml').write_text(EVIL)
    subprocess.run([sys.executable, '-c', 'from mmengine.config import Config; Config.fromfile("evil.yaml")'], check=True,
                   env={**os.environ, 'PYTHONPATH': ''}, capture_output=True)
    assert (folder / 'ran').exists()


def test_plain_yaml_is_read(folder):
    (folder / 'plain.yaml').write_text('model: {type: NEPA, sizes: [1, 2.5, null, true, text]}\n')
    assert Config.fromfile('plain.yaml').model == dict(type='NEPA', sizes=[1, 2.5, None, True, 'text'])


class Call:
    def __reduce__(self):
        return os.system, ('touch ran', )


@pytest.mark.parametrize('name', ['evil.pkl', 'evil.PICKLE', 'refs(unc).p'])
def test_a_pickled_list_of_images_is_refused(name, folder):
    (folder / 'data' / name).write_bytes(pickle.dumps(Call()))
    (folder / 'config.py').write_text(CONFIG.format(folder=folder, dataset=f'ann_file={name!r}'))
    assert refused(folder / 'config.py', 3) == (
        f'nepa_mm: error: {name!r} is a pickle, which would run code as it is read; nothing was run | '
        'train_dataloader.dataset.ann_file | write it as .txt or .json')
    assert not (folder / 'ran').exists()


@pytest.mark.parametrize('line', ['../../etc/passwd 0', 'a/../../outside.png 1', '/etc/passwd 0', '{folder}/outside.png 0'])
def test_a_list_of_images_that_leads_outside_is_refused(line, folder):
    line = line.format(folder=folder)
    (folder / 'data/list.txt').write_text(f'a/0.png 0\n{line}\nb/1.png 1\n')
    (folder / 'config.py').write_text(CONFIG.format(folder=folder, dataset='ann_file="list.txt"'))
    said = refused(folder / 'config.py', 3)
    assert f"line 2 of '{folder}/data/list.txt', {line[:-2]!r}, leads out of '{folder}/data'; nothing was read | " in said, said
    assert ' | train_dataloader.dataset.ann_file | ' in said


@pytest.mark.parametrize('line', ['b/../a/0.png 0', '{folder}/data/a/0.png 0', 'a..b/0.png 0'])
def test_a_list_that_stays_inside_is_taken(line, folder):
    (folder / 'data/list.txt').write_text(line.format(folder=folder) + '\n')
    (folder / 'config.py').write_text(CONFIG.format(folder=folder, dataset='ann_file="list.txt"'))
    check_data(Config.fromfile('config.py'), ('train', ))


def member(name, kind=tarfile.REGTYPE, link=''):
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.size = kind, link, 4 if kind == tarfile.REGTYPE else 0
    return info


HOSTILE = {
    'up': [member('../escaped')],
    'absolute': [member('{folder}/escaped')],
    'link out': [member('link', tarfile.SYMTYPE, '..'), member('link/escaped')],
    'hard link out': [member('link', tarfile.LNKTYPE, '../outside.png')],
    'device': [member('device', tarfile.CHRTYPE)],
    'pipe': [member('pipe', tarfile.FIFOTYPE)],
}


def pack(path, members, folder):
    with tarfile.open(path, 'w:gz') as tar:
        for info in members:
            info.name = info.name.replace('{folder}', str(folder))
            tar.addfile(info, io.BytesIO(b'evil') if info.size else None)


@pytest.mark.parametrize('kind', HOSTILE)
def test_a_hostile_archive_is_refused_with_the_name_of_the_member(kind, folder):
    pack(folder / 'evil.tar.gz', HOSTILE[kind], folder)
    (folder / 'into').mkdir()
    before = {path for path in folder.rglob('*') if not path.is_relative_to(folder / 'into')}
    if kind == 'absolute':  # the root is taken from its name
        extract_archive('evil.tar.gz', 'into')
        assert (folder / 'into' / str(folder)[1:] / 'escaped').read_bytes() == b'evil'
    else:
        with pytest.raises(DataError, match=rf'{HOSTILE[kind][0].name!r} of a tar archive is not unpacked: '):
            extract_archive('evil.tar.gz', 'into')
    assert {path for path in folder.rglob('*') if not path.is_relative_to(folder / 'into')} == before
    assert not any(path.is_symlink() or path.is_fifo() or path.is_char_device() for path in (folder / 'into').rglob('*'))


@pytest.mark.skipif(sys.version_info >= (3, 14), reason='Python itself refuses it')
def test_stock_python_unpacks_it(folder):
    pack(folder / 'evil.tar.gz', HOSTILE['up'], folder)
    (folder / 'into').mkdir()
    code = 'import tarfile; tarfile.open("evil.tar.gz").extractall("into")'
    subprocess.run([sys.executable, '-W', 'ignore', '-c', code], check=True)
    assert (folder / 'escaped').exists()


def test_a_hostile_zip_file_writes_nothing_outside(folder):
    with zipfile.ZipFile('evil.zip', 'w') as archive:
        archive.writestr('../escaped', 'evil')
        archive.writestr(f'{folder}/escaped', 'evil')
        link = zipfile.ZipInfo('link')
        link.external_attr = 0o120777 << 16
        archive.writestr(link, '..')
    extract_archive('evil.zip', 'into')
    assert not (folder / 'escaped').exists() and not (folder / 'into/link').is_symlink()


def test_a_plain_archive_is_unpacked(folder):
    pack(folder / 'good.tar.gz', [member('a/b.txt'), member('c', tarfile.SYMTYPE, 'a')], folder)
    extract_archive('good.tar.gz', 'into')
    assert (folder / 'into/c/b.txt').read_bytes() == b'evil'
