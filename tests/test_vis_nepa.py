"""tools/visualization/vis_nepa.py, explore_nepa.py, continue_nepa.py: what they write, and one line for what they cannot use."""
import json
import re
import runpy
import sys

import forks
import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from nepa_mm import NEPA, NEPAViT
from nepa_mm.checkpoints import released_state_dict
from tiny import ROOT, TINY, randomize

VIS, EXPLORE, CONTINUE = (ROOT / f'tools/visualization/{name}_nepa.py' for name in ('vis', 'explore', 'continue'))
SIZES = dict(model_type='vit_nepa', hidden_size=16, num_hidden_layers=3, num_attention_heads=2, intermediate_size=32,
             image_size=28, patch_size=7, qk_norm=True)


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    """Images, and a checkpoint in the released format, without a config, and of other patches."""
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp('vis')
    (folder / 'photos').mkdir()
    for i in range(3):
        Image.fromarray(np.random.default_rng(i).integers(256, size=(40, 30 + i, 3), dtype='u1')).save(
            folder / 'photos' / f'{i}.png')
    Image.fromarray(np.linspace(0, 65535, 300).astype(np.uint16).reshape(15, 20)).save(folder / '16bit.png')
    Image.new('CMYK', (1, 1)).save(folder / 'dot.jpg')
    (folder / 'broken.jpg').write_bytes(b'\xff\xd8\xff broken')
    weights = released_state_dict(randomize(NEPA(NEPAViT(**TINY))).state_dict())
    (folder / 'hub').mkdir()
    (folder / 'old.html').mkdir()
    save_file({key: value.contiguous() for key, value in weights.items()}, folder / 'hub/model.safetensors')
    (folder / 'hub/config.json').write_text(json.dumps(SIZES))
    for name, side in (('bare', 7), ('other', 14)):
        torch.save(dict(state_dict=randomize(NEPA(NEPAViT(**{**TINY, 'patch_size': side}))).state_dict()), folder / f'{name}.pth')
    (folder / 'noconfig').mkdir()
    save_file({key: value.contiguous() for key, value in weights.items()}, folder / 'noconfig/model.safetensors')
    return folder


def own_process(tool, *arguments, cwd):
    done = forks.done(tool, *arguments, folder=cwd)
    return done.returncode, done.stdout, done.stderr


@pytest.fixture
def run(monkeypatch, capsys, folder):
    """Run a tool in this process: exit code, what it prints, and what it complains of."""
    def run(tool, *arguments):
        monkeypatch.chdir(folder)
        monkeypatch.setattr(sys, 'argv', [str(tool), *map(str, arguments)])
        try:
            runpy.run_path(str(tool), run_name='__main__')
            code = 0
        except SystemExit as stop:
            code = stop.code
        out, err = capsys.readouterr()
        return code, out, err

    return run


def test_pictures_by_one_command(folder, tmp_path):
    code, out, err = own_process(VIS, 'photos', '16bit.png', 'dot.jpg', 'hf:hub', '-o', tmp_path / 'a.png', cwd=folder)
    assert code == 0 and f'{tmp_path}/a.png: 5 images of 28 x 28 pixels' in out, err
    with Image.open(tmp_path / 'a.png') as picture:
        assert picture.width > 1500 and picture.height > 1000
        assert len(picture.convert('RGB').getcolors(1 << 24)) > 1000


def test_a_page_by_one_command(folder, tmp_path):
    code, out, err = own_process(EXPLORE, 'photos', 'hf:hub', 'other.pth', '-o', tmp_path / 'a.html', cwd=folder)
    assert code == 0 and f'{tmp_path}/a.html: 3 images, 1.0 MB' in out, err
    assert 'hf:hub: layers [0, 1, 2], single heads of [0, 1, 2]\n' in out
    assert 'other.pth carries no config: sizes are taken from the shapes of the weights' in out + err
    about = json.loads(re.search(r'id="about">(.*?)</script>', (tmp_path / 'a.html').read_text())[1])
    assert [model['grid'] for model in about['models']] == [[4, 4], [16, 16]]  # without a config, of 16 patches a side
    assert [image['name'] for image in about['images']] == ['0.png', '1.png', '2.png']


def test_continuations_by_one_command(folder, tmp_path):
    code, out, err = own_process(CONTINUE, 'photos', '16bit.png', 'hf:hub', '-o', tmp_path / 'a.png', cwd=folder)
    assert code == 0 and f'{tmp_path}/a.png: 4 images of 28 x 28 pixels, 2 rows given, patches of 4 images' in out, err
    with Image.open(tmp_path / 'a.png') as picture:
        assert picture.width > 1000 and picture.height > 1000
        assert len(picture.convert('RGB').getcolors(1 << 24)) > 1000


def test_a_bank_of_its_own(run, tmp_path):
    code, said, err = run(CONTINUE, 'photos/0.png', 'hf:hub', '-o', tmp_path / 'a.svg', '--rows', 1, '--size', 42, 28, '--bank',
                          'photos', './photos/1.png')
    assert code == 0 and '1 image of 28 x 42 pixels, 1 row given, patches of 3 images' in said, err


def test_formats_sizes_queries_layers_and_heads(run, tmp_path):
    out = tmp_path / 'a.pdf'
    settings = ['--size', 42, 28, '--queries', '5,3', '0,0', '--layers', 0, -1, '--heads', 'all', '--columns', 1]
    code, said, err = run(VIS, 'photos/0.png', 'hf:hub', '-o', out, *settings)
    assert code == 0 and '1 image of 28 x 42 pixels' in said, err
    assert out.read_bytes().startswith(b'%PDF')
    code, _, err = run(VIS, 'photos/0.png', 'hf:hub', '-o', out)
    assert code == 2 and 'a.pdf | remove it or choose another name, or replace it with --overwrite' in err
    assert run(VIS, 'photos/0.png', 'hf:hub', '-o', out, '--overwrite', '--layers', 'mean')[0] == 0


@pytest.mark.parametrize('address', ['bare.pth', 'hf:noconfig'])
def test_a_checkpoint_without_a_config_is_seen_with_what_its_shapes_show(address, run, tmp_path):
    code, said, err = run(VIS, 'photos/0.png', address, '-o', tmp_path / 'a.png', '--size', 28)
    assert code == 0 and '1 image of 28 x 28 pixels' in said, err


@pytest.mark.parametrize('tool, arguments, code, message', [
    (VIS, ['photos/0.png', 'hf:hub', '--queries', '1,2', '4,0'], 2,
     '4,0 is outside the grid of 4 rows and 4 columns of patches | query | choose from 0,0 to 3,3'),
    (VIS, ['photos/0.png', 'hf:hub', '--queries', 'top'], 2, "'top' is no patch | --queries | give its row and column"),
    (VIS, ['photos/0.png', 'hf:hub', '--layers', '3'], 2, '3 is not there: this model has 3 | layers | choose from -3 to 2'),
    (VIS, ['photos/0.png', 'hf:hub', '--heads', 'mean', '1'], 2, "mean 1 is none of what can be chosen | --heads | "
                                                                 "give 'all', 'mean' or a list"),
    (VIS, ['photos/0.png', 'hf:hub', '--columns', '0'], 2, '0 is less than 1 | --columns'),
    (VIS, ['photos/0.png', 'hf:hub', '--size', '6'], 2, 'an image of 6x6 pixels is smaller than one patch (7) | patch_size'),
    (VIS, ['photos/0.png', 'hf:hub', '--size', '1', '2', '3'], 2, '1 2 3 is no size | size'),
    (VIS, ['photos/0.png', 'hf:hub', '--device', 'cuda:99'], 2, 'cuda:99 cannot be used here ('),
    (VIS, ['photos/0.png', 'hf:hub', '--out', 'a.xyz'], 2, 'it is of no format known here | a.xyz | end it in .png, .pdf'),
    (VIS, ['photos/0.png', 'hf:hub', '--out', 'broken.jpg/a.png'], 2, 'it cannot be written (File exists: broken.jpg) | '),
    (VIS, ['photos/0.png'] * 33 + ['hf:hub'], 2, '33 images are too many for one figure | arguments | name at most 32'),
    (VIS, ['broken.jpg', 'hf:hub'], 3, 'it cannot be read as an image (UnidentifiedImageError'),
    (VIS, ['gone.jpg', 'hf:hub'], 3, 'there is no such file | gone.jpg'),
    (VIS, ['photos/0.png', 'gone.pth'], 4, 'gone.pth'),
    (CONTINUE, ['photos', 'hf:hub', '--rows', '0'], 2, '0 is less than 1 | --rows'),
    (CONTINUE, ['photos', 'hf:hub', '--rows', '4'], 2, '4 of 4 rows of patches | rows | give 1 to 3'),
    (CONTINUE, ['photos/0.png', 'hf:hub'], 2, 'an image is not continued by its own patches, and there is no other | --bank'),
    (CONTINUE, ['photos/0.png'] * 17 + ['hf:hub'], 2, '17 images are too many for one figure | arguments | name at most 16'),
    (CONTINUE, ['photos', 'hf:hub', '--cfg-options', 'model.backbone.causal=False'], 2, 'it does not predict the embedding of'),
    (CONTINUE, ['photos', 'hf:hub', '--bank', 'gone'], 3, 'there is no such file | gone'),
    (EXPLORE, ['photos', 'hf:hub', '-o', 'a.html', '--max-mb', 'nan'], 2, 'nan is no size of a page | --max-mb'),
    (EXPLORE, ['photos', 'hf:hub', '-o', 'old.html', '--overwrite'], 2, 'it exists and would be written over | old.html | '
                                                                        'remove it'),
    (EXPLORE, ['photos', '-o', 'a.html'], 2, 'no checkpoint is among photos | arguments | give images, then checkpoints'),
    (EXPLORE, ['hf:hub', '-o', 'a.html'], 2, 'no image is among hf:hub'),
    (EXPLORE, ['photos', 'hf:hub', '-o', 'a.png'], 2, 'it is of no format known here | a.png | end it in .html'),
    (EXPLORE, ['photos', 'hf:hub', '-o', 'a.html', '--layers', 'mean'], 2, 'mean: a page shows layers one by one | --layers'),
    (EXPLORE, ['broken.jpg', 'hf:hub', '-o', 'a.html'], 3, 'it cannot be read as an image'),
])
def test_one_line_for_what_cannot_be_used(tool, arguments, code, message, run, folder):
    ended, _, err = run(tool, *arguments)
    lines = [line for line in err.strip().splitlines() if line.startswith('nepa_mm: error: ')]
    assert ended == code and len(lines) == 1 and message in lines[0] and 'Traceback' not in err, err
    assert not list(folder.glob('a.html')) and not list(folder.glob('*.png'))[1:]


def test_an_image_may_have_a_colon_in_its_name(run, folder, tmp_path):
    (tmp_path / 'at 12:30.png').write_bytes((folder / 'photos/0.png').read_bytes())
    code, said, err = run(EXPLORE, tmp_path / 'at 12:30.png', 'hf:hub', '-o', tmp_path / 'a.html')
    assert code == 0 and 'a.html: 1 image,' in said, err


def test_room_for_single_heads(run, tmp_path):
    for heads, expected in (('all', '[0, 1, 2]'), ('mean', 'none; --heads all has all'), ('fit', 'none; --heads all has all')):
        code, said, err = run(EXPLORE, 'photos', 'hf:hub', '-o', tmp_path / 'a.html', '--heads', heads, '--max-mb', '0.001',
                              '--overwrite')
        assert code == 0 and f'single heads of {expected}' in said, err
        assert ('still above --max-mb 0.001; fewer --layers' in said) == (heads != 'all')


def test_a_config_file_with_its_checkpoint_and_options(run, folder, tmp_path):
    """Seen at the size that its training saw, which need not be the one that the backbone began with."""
    (tmp_path / 'config.py').write_text(
        "default_scope = 'mmpretrain'\n"
        f"backbone = dict(type='nepa_mm.NEPAViT', arch={TINY['arch']}, img_size=28, patch_size=7)\n"
        "model = dict(type='nepa_mm.NEPA', backbone=backbone)\n"
        "train_dataloader = dict(dataset=dict(pipeline=[dict(type='RandomResizedCrop', scale=42), dict(type='PackInputs')]))\n")
    named = [tmp_path / 'config.py', '--checkpoint', 'bare.pth', '--cfg-options', 'model.backbone.causal=False']
    code, said, err = run(VIS, 'photos/0.png', *named, '-o', tmp_path / 'a.png')
    assert code == 0 and '1 image of 42 x 42 pixels' in said, err
    code, said, err = run(EXPLORE, 'photos/0.png', *named, '-o', tmp_path / 'a.html')
    assert code == 0 and 'a.html: 1 image,' in said, err
    about = json.loads(re.search(r'id="about">(.*?)</script>', (tmp_path / 'a.html').read_text())[1])
    assert about['models'][0]['grid'] == [6, 6] and not about['models'][0]['causal']


def test_names_tell_checkpoints_apart():
    names = runpy.run_path(str(EXPLORE))['short_names']
    assert names(['a/b/e1.pth', 'a/b/e2.pth', 'hf:org/name']) == ['b/e1.pth', 'b/e2.pth', 'hf:org/name']
    assert names(['/x/a/run/e.pth', '/x/b/run/e.pth']) == ['a/run/e.pth', 'b/run/e.pth']
    assert names(['raw:/x/run/e.pth', 'ema:/x/run/e.pth']) == ['raw:run/e.pth', 'ema:run/e.pth']
    assert names(['e.pth']) == ['e.pth'] and names(['e.pth', 'e.pth']) == ['e.pth', 'e.pth']
