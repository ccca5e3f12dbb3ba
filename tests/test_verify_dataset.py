"""The checker of datasets finds what a training would stop at, and says it once."""
import json
import re
import runpy
import sys

import forks
import numpy as np
import pytest
import tifffile
from PIL import Image

from tiny import ROOT

TOOL = ROOT / 'tools/misc/verify_dataset.py'


def image(path, size=(30, 20), kind=None):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (*size[::-1], 3), np.uint8)).save(path, kind)


def labels(path, size=(30, 20), value=3):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full(size[::-1], value, np.uint8)).save(path)


@pytest.fixture
def imagenet(tmp_path):
    """Seven images in two classes, of which three are broken."""
    root = tmp_path / 'imagenet'
    for i in range(7):
        image(root / f'train/n{i % 2}/{i}.jpg')
    (root / 'train/n0/0.jpg').write_bytes(b'')
    (root / 'train/n1/3.jpg').write_text('<html>404</html>')
    (root / 'train/n0/4.jpg').write_bytes((root / 'train/n1/5.jpg').read_bytes()[:300])
    (root / 'train/n0/notes.txt').write_text('no image, and not asked for')
    return root


def rows_of(out):
    """The list, without what the hosts print as they are imported."""
    return [line for line in out.splitlines() if '\t' in line]


def verify(*arguments):
    """Exit code, lines of standard output, last line of standard error."""
    done = forks.done(TOOL, *arguments, '--workers', 2)
    return done.returncode, rows_of(done.stdout), done.stderr.strip().splitlines()[-1]


def test_a_folder_of_classes(imagenet, tmp_path):
    code, listed, last = verify(imagenet, '--json', tmp_path / 'broken.json')
    assert code == 3 and last == (
        f'nepa_mm: error: 3 of 7 images are broken | {imagenet} | mend the files listed, or take them out')
    rows = [line.split('\t') for line in listed]
    assert [path for path, _ in rows] == [f'{imagenet}/train/{name}' for name in ('n0/0.jpg', 'n0/4.jpg', 'n1/3.jpg')]
    assert 'empty' in rows[0][1] or '0 bytes' in rows[0][1]
    assert 'truncated' in rows[1][1].lower() and '16 bytes of no format that Pillow knows' in rows[2][1]
    assert json.loads((tmp_path / 'broken.json').read_text()) == [dict(path=path, reason=reason) for path, reason in rows]


def run_here(monkeypatch, capsys, *arguments):
    monkeypatch.setattr(sys, 'argv', [str(TOOL), *map(str, arguments), '--workers', '1'])
    code = 0
    try:
        runpy.run_path(str(TOOL), run_name='__main__')
    except SystemExit as error:
        code = error.code
    out, err = capsys.readouterr()
    return code, rows_of(out), ' '.join(err.split())


@pytest.fixture
def ade(tmp_path):
    """Six images with label maps of 150 classes, of which five are wrong."""
    root = tmp_path / 'ade'
    for i in range(6):
        image(root / f'images/training/{i}.jpg')
        labels(root / f'annotations/training/{i}.png', (20, 30) if i == 1 else (30, 20), 151 if i == 2 else 150)
    (root / 'annotations/training/3.png').unlink()
    (root / 'annotations/training/4.png').write_bytes(b'none')
    (root / 'images/training/5.jpg').write_bytes(b'none')
    return root


WRONG = {1: '20x30 pixels, but', 2: 'labels [151] are above 150', 3: 'FileNotFoundError', 4: 'cannot be read as a label map',
         5: 'cannot be read as an image'}


def test_a_folder_with_label_maps(ade, monkeypatch, capsys):
    code, listed, said = run_here(monkeypatch, capsys, ade, '--max-label', 150)
    assert code == 3 and '5 of 6 images are broken' in said
    for number, line in zip(WRONG, listed, strict=True):
        assert re.match(rf'{ade}/(images|annotations)/training/{number}\.', line) and WRONG[number] in line


def test_all_datasets_of_a_config(imagenet, ade, tmp_path, monkeypatch, capsys):
    (ade / 'annotations/training/3.png').write_bytes((ade / 'annotations/training/0.png').read_bytes())
    config = tmp_path / 'config.py'
    seg = dict(type='ADE20KDataset', data_root=str(ade), pipeline=[dict(type='LoadImageFromFile'), dict(type='LoadAnnotations')],
               data_prefix=dict(img_path='images/training', seg_map_path='annotations/training'))
    config.write_text(f'default_scope = "mmseg"\ntrain_dataloader = dict(dataset={seg})\nval_dataloader = train_dataloader\n')
    code, listed, said = run_here(monkeypatch, capsys, config)
    # The dataset takes one from each class, as ADE20K's 0 is none: 151 becomes 150, of which there are 150 from 0 on
    assert code == 3 and '4 of 6 images are broken' in said and len(listed) == 4
    assert f'{ade}/annotations/training/2.png\tlabels [150] are above 149, the last class' in listed

    folders = dict(type='CustomDataset', data_root=str(imagenet), data_prefix='train')
    config.write_text(f'default_scope = "mmpretrain"\ntrain_dataloader = dict(dataset={folders})\n')
    code, listed, said = run_here(monkeypatch, capsys, config)
    assert code == 3 and '3 of 7 images are broken' in said and len(listed) == 3


def test_what_a_training_would_pass_over_is_listed(imagenet, tmp_path, monkeypatch, capsys):
    folders = dict(type='CustomDataset', data_root=str(imagenet), data_prefix='train',
                   pipeline=[dict(type='nepa_mm.LoadImage', ignore_empty=True)])
    (tmp_path / 'config.py').write_text(f'default_scope = "mmpretrain"\ntrain_dataloader = dict(dataset={folders})\n')
    code, listed, said = run_here(monkeypatch, capsys, tmp_path / 'config.py')
    assert code == 3 and '3 of 7 images are broken' in said and len(listed) == 3


def test_what_a_config_ignores_is_no_wrong_label(ade, tmp_path, monkeypatch, capsys):
    for i in range(6):
        image(ade / f'images/training/{i}.jpg')
        labels(ade / f'annotations/training/{i}.png', value=[0, 1, 11, 11, 12, 255][i])
    seg = dict(type='BaseSegDataset', data_root=str(ade), metainfo=dict(classes=list('abcdefghijk')),
               pipeline=[dict(type='LoadImageFromFile'), dict(type='LoadAnnotations')],
               data_prefix=dict(img_path='images/training', seg_map_path='annotations/training'))
    for told, wrong in {'model = dict(decode_head=dict(ignore_index=11))': [12, 255],  # as CamVid
                        'val_evaluator = [dict(type="IoUMetric", ignore_index=12)]': [11, 11]}.items():
        (tmp_path / 'config.py').write_text(f'default_scope = "mmseg"\ntrain_dataloader = dict(dataset={seg})\n{told}\n')
        code, listed, said = run_here(monkeypatch, capsys, tmp_path / 'config.py')
        assert code == 3 and [int(re.search(r'\[(\d+)', line)[1]) for line in listed] == wrong


def test_links_are_followed_as_a_training_does(imagenet, monkeypatch, capsys):
    links = imagenet.parent / 'links'
    links.mkdir()
    (links / 'train').symlink_to(imagenet / 'train')
    (links / 'gone.jpg').symlink_to('nowhere')
    code, listed, said = run_here(monkeypatch, capsys, links)
    assert code == 3 and '4 of 8 images are broken' in said and f'{links}/train/n0/0.jpg' in listed[1]
    assert listed[0].startswith(f'{links}/gone.jpg\t') and 'FileNotFoundError' in listed[0]


def test_every_suffix_and_the_loader_of_the_config(tmp_path, monkeypatch, capsys):
    for name in ('a/0.webp', 'a/1.tiff', 'b/2.ppm'):  # OpenCV before 5 reads no GIF
        image(tmp_path / 'data' / name)
    (tmp_path / 'data/b/3.heic').touch()
    Image.fromarray(np.full((5, 5), 300, np.uint16)).save(tmp_path / 'data/b/deep.png')
    loads = {"'nepa_mm.LoadImage'": 1, "'LoadImageFromFile'": 1, "'LoadImageFromFile', color_type='unchanged'": 0}
    for load, broken in loads.items():
        (tmp_path / 'config.py').write_text(
            f"train_dataloader = dict(dataset=dict(type='mmpretrain.CustomDataset', data_root='{tmp_path}/data', "
            f"pipeline=[dict(type={load})]))\ndefault_scope = 'mmpretrain'\n")
        code, listed, said = run_here(monkeypatch, capsys, tmp_path / 'config.py')
        assert code == 3 * broken and len(listed) == broken
        assert ('1 of 4 images are broken' if broken else '4 images, none is broken') in said
        assert f"nepa_mm: train_dataloader.dataset: '{tmp_path}/data': 1 of 5 files are left out" in said
    code, (row, ), said = run_here(monkeypatch, capsys, tmp_path / 'data')
    assert code == 3 and "1 of 5 files are left out, for they end as no image does (.heic 1)" in said
    assert row == (
        f"{tmp_path}/data/b/deep.png\tmore than 8 bits a pixel (Pillow's mode I;16): values above 255 would become white")


def test_what_a_pretraining_decodes_in_part_is_checked_as_a_whole(tmp_path, monkeypatch, capsys):
    image(tmp_path / 'data/a/0.jpg', (90, 80))
    content = (tmp_path / 'data/a/0.jpg').read_bytes()
    place = content.index(b'\xff\xc4') + 5
    (tmp_path / 'data/a/1.jpg').write_bytes(content[:place] + b'\xff' * 16 + content[place + 16:])  # no such codes
    tifffile.imwrite(tmp_path / 'data/a/2.tif', np.ones((99, 99, 3), np.uint8), photometric='rgb', tile=(16, 16), metadata=None)
    content = (tmp_path / 'data/a/2.tif').read_bytes()
    (tmp_path / 'data/a/3.tif').write_bytes(content[:-100])
    (tmp_path / 'config.py').write_text(
        f"train_dataloader = dict(dataset=dict(type='mmpretrain.CustomDataset', data_root='{tmp_path}/data', pipeline=["
        "dict(type='nepa_mm.LoadImage', whole=False), dict(type='nepa_mm.RandomResizedCropFlip', size=8)]))\n"
        "default_scope = 'mmpretrain'\n")
    code, rows, _ = run_here(monkeypatch, capsys, tmp_path / 'config.py')
    assert code == 3 and len(rows) == 2
    assert rows[0].startswith(f'{tmp_path}/data/a/1.jpg\tit cannot be read as an image (OSError: ')
    assert rows[1].startswith(f'{tmp_path}/data/a/3.tif\tits pixels at row 96, column 96 cannot be decoded (')


def test_a_good_folder_and_none(tmp_path, monkeypatch, capsys):
    (tmp_path / 'empty').mkdir()
    image(tmp_path / 'good/a/0.png')
    code, listed, said = run_here(monkeypatch, capsys, f'{tmp_path}/empty/../good')
    assert (code, listed) == (0, []) and said.endswith('1 images, none is broken')
    for source, message in {'empty': 'holds no image', 'nowhere': 'is neither a folder nor a config'}.items():
        code, listed, said = run_here(monkeypatch, capsys, tmp_path / source)
        assert code == 3 and message in said and not listed
