"""tools/new_config.py: what it writes for drawn data, that this trains, and what it refuses."""
import ast
import re

import pytest
from drawn_data import class_folders, image
from forks import run, start
from mask_layouts import LAYOUTS
from mmengine.config import Config

from tiny import ROOT, counts

TOOL = ROOT / 'tools/new_config.py'
EXPECTED = ROOT / 'tests/test_own_data/configs'
# Of a training, whatever its length
WITHOUT_WORKERS = [f'{split}_dataloader.{key}' for split in ('train', 'val')
                   for key in ('num_workers=0', 'persistent_workers=False')]
ONE_STEP = dict(
    pretrain=['train_dataloader.num_workers=0', 'train_dataloader.persistent_workers=False', 'train_cfg.max_epochs=1',
              'param_scheduler.warmup=0', 'default_hooks.logger.interval=1'],
    classification=[*WITHOUT_WORKERS, 'train_cfg.max_epochs=1', 'train_cfg.val_interval=1', 'train_dataloader.dataset.indices=8',
                    'param_scheduler.warmup=0', 'default_hooks.logger.interval=1'],
    segmentation=[*WITHOUT_WORKERS, 'train_cfg.max_iters=2', 'train_cfg.val_interval=2', 'param_scheduler.0.end=1',
                  'param_scheduler.1.begin=1', 'param_scheduler.1.end=2', 'default_hooks.logger.interval=1'])


def folders(root):
    class_folders(root / 'train', dict(cat=8, dog=8))
    class_folders(root / 'val', dict(cat=2, dog=2))


def drawn_split(root):
    class_folders(root, {f'class {i:02}': 4 for i in range(12)}, size=(90, 70))


def several_labels(root):
    for i in range(16):
        image(root / f'images/{i}.png')
    labels = ('red', 'blue;round', 'round', 'red;round')
    (root / 'labels.csv').write_text('path,label\n' + ''.join(f'images/{i}.png,{labels[i % 4]}\n' for i in range(16)))


CASES = dict(
    images=('pretrain', folders, []),
    beside_masks=('pretrain', LAYOUTS['ade'].draw, ['--img-size', 28, '--patch-size', 7]),
    folders=('classification', folders, []),
    drawn_split=('classification', drawn_split, []),
    several_labels=('classification', several_labels, []),
    masks=('segmentation', LAYOUTS['ade'].draw, []),
    colours=('segmentation', LAYOUTS['named_colours'].draw, []),
    sigmoid=('segmentation', LAYOUTS['lossy'].draw, ['--one-channel']),
)


def settings(path):
    """All that a config says, with its own folder as '.'."""
    return ast.literal_eval(repr(Config.fromfile(path).to_dict()).replace(str(path.resolve().parent), '.'))


@counts
@pytest.mark.parametrize('name', CASES)
def test_what_is_written_and_that_it_trains(name, tmp_path):
    task, draw, options = CASES[name]
    draw(tmp_path / 'data')
    printed = run(tmp_path, TOOL, task, 'data', '-o', f'{name}.py', '--cpu', '--memory', 16, *options)
    written = tmp_path / f'{name}.py'
    assert f'python tools/train.py {name}.py' in printed and 'found in data' in printed and 'chosen for' in printed
    text = written.read_text()
    assert len(text.splitlines()) <= 40 and max(map(len, text.splitlines())) <= 130
    assert settings(written) == settings(EXPECTED / f'{name}.py')
    trained = run(tmp_path, ROOT / 'tools/train.py', f'{name}.py', '--cfg-options', *ONE_STEP[task])
    assert re.search(r' loss: -?\d', trained)
    before = sorted(path.name for path in tmp_path.glob('*.*'))
    code, said = start(tmp_path, TOOL, task, 'data', '-o', f'{name}.py', '--cpu', *options)
    assert code == 2 and 'it exists and would be written over' in said
    assert sorted(path.name for path in tmp_path.glob('*.*')) == before


@pytest.mark.parametrize('options, message', [
    (['--epochs', 0], '0 is too small | --epochs | give more than 0'),
    (['--val-share', 2], '2.0 is not in (0, 1] | --val-share | give a share, such as 0.1'),
    (['--seed', -1], '-1 is less than 0 | --seed | give 0 or more'),
    (['--from', 'nowhere.pth'], 'there is no such checkpoint | nowhere.pth | '),
    (['--from', 'nowhere.pth', '--arch', 'base'], "'base', and weights have a size of their own | --arch | leave it out"),
    (['-o', 'config.txt'], 'config.txt | end it in .py'),
])
def test_options_that_cannot_be(options, message, tmp_path):
    class_folders(tmp_path / 'data', dict(cat=3, dog=3))
    before = sorted(tmp_path.rglob('*'))
    code, said = start(tmp_path, TOOL, 'classification', 'data', *options)
    assert code in (2, 4) and message in said, said
    assert sorted(tmp_path.rglob('*')) == before
