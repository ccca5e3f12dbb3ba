"""The display, in a real terminal; and that there is none elsewhere."""
import json
import os
import re
import sys

import forks
import numpy as np
import pytest
from PIL import Image

from nepa_mm.engine.hooks.progress_hook import title
from terminal import Terminal
from tiny import ROOT

CONFIG = '''
_base_ = '{root}/configs/_base_/default_runtime.py'
model = dict(
    type='ImageClassifier',
    data_preprocessor=dict(mean=[127.5] * 3, std=[127.5] * 3, num_classes=2),
    backbone=dict(
        type='nepa_mm.NEPAViT', arch=dict(embed_dims=16, num_layers=2, num_heads=2, feedforward_channels=32), img_size=28,
        patch_size=7, causal=False, out_type='avg_featmap'),
    head=dict(type='LinearClsHead', num_classes=2, in_channels=16, loss=dict(type='CrossEntropyLoss')))
pipeline = [dict(type='nepa_mm.LoadImage'), dict(type='PackInputs')]
train_dataloader = dict(
    batch_size=2, num_workers=0, sampler=dict(type='DefaultSampler', shuffle=True), collate_fn=dict(type='default_collate'),
    dataset=dict(type='CustomDataset', data_root='{data}', pipeline=pipeline))
val_dataloader = dict(
    batch_size=2, num_workers=0, sampler=dict(type='DefaultSampler', shuffle=False), collate_fn=dict(type='default_collate'),
    dataset=dict(type='CustomDataset', data_root='{data}', pipeline=pipeline))
val_evaluator = dict(type='Accuracy', topk=1)
test_dataloader, test_evaluator = val_dataloader, val_evaluator
optim_wrapper = dict(optimizer=dict(type='AdamW', lr=1e-3))
train_cfg = dict(type='nepa_mm.AccumulatingEpochLoop', max_epochs=2)
val_cfg, test_cfg = dict(), dict()
auto_scale_lr = dict(base_batch_size=4)
default_hooks = dict(logger=dict(interval=5), progress=dict(interval=0))
'''
LINE = re.compile(r'Epoch\(train\) +\[\d\]\[( 5|10)/10\].* eta: .* loss: \d')


@pytest.fixture(scope='module')
def config(tmp_path_factory):
    folder = tmp_path_factory.mktemp('progress')
    random = np.random.default_rng(0)
    for i in range(40):
        path = folder / f'data/{i % 2}/{i}.png'
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(random.integers(0, 256, (28, 28, 3), np.uint8)).save(path)
    (folder / 'tiny.py').write_text(CONFIG.format(root=ROOT, data=folder / 'data'))
    return folder / 'tiny.py'


def train(config, folder, *options):
    return [sys.executable, '-W', 'ignore', 'tools/train.py', config, '--work-dir', folder,
            '--cfg-options', 'randomness.seed=0', *options]


def logged(folder):
    text, = (path.read_text() for path in folder.glob('*/*.log'))
    records = [json.loads(line) for line in next(folder.glob('*/vis_data/scalars.json')).read_text().splitlines()]
    return text, records


@pytest.fixture(scope='module')
def watched(config):
    """A training in a terminal: each screen, all lines, the folder."""
    terminal = Terminal(*train(config, config.parent / 'watched'), forked=True)
    screens = list(terminal.screens())
    assert terminal.code == 0, '\n'.join(terminal.lines())
    return screens, terminal, config.parent / 'watched'


def drawn(screen):
    """The display at the bottom of a screen, as one line."""
    start = max((i for i, line in enumerate(screen) if line.startswith('tiny_')), default=len(screen))
    return '  '.join(screen[start:])


def test_the_terminal_shows_progress_speed_and_losses(watched):
    screens, terminal, folder = watched
    last = [record for record in logged(folder)[1] if 'loss' in record][-1]
    text = drawn(terminal.lines())
    assert re.fullmatch(
        r'tiny_\S+ in \S+  epoch 2/2 ━+ 100 %  step 20/20  passed 0:\d\d:\d\d  left 0:00:00  images/s [\d.e+]+  '
        rf'waiting for data \d+ %  loss {last["loss"]:.4g}  lr {last["lr"]:.3e}(  memory [\d.]+ GiB)?', text), text
    steps = {match[1] for match in map(re.compile(r'step (\d+)/20').search, map(drawn, screens)) if match}
    assert len(steps) > 3  # it moves
    assert any('validation 20/20 ━' in drawn(screen) or 'validation 0/20 ' in drawn(screen) for screen in screens)
    assert 'validation' not in text  # gone when it is over


def test_a_folder_below_the_current_one_is_named_from_there(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert title('run', tmp_path / 'work_dirs/run') == 'run in work_dirs/run'
    assert title('run', tmp_path.parent / 'run') == f'run in {tmp_path.parent}/run'


def test_losses_are_shown_from_the_first_log_on(watched):
    for screen in watched[0]:
        text = drawn(screen)
        step = re.search(r'step (\d+)/20', text)
        if step and 'images/s' in text:
            assert ('loss is read at step 5' in text) == (int(step[1]) < 5), text


def test_what_the_display_says_is_only_in_the_log_file_and_the_rest_scrolls_above(watched):
    _, terminal, folder = watched
    text, records = logged(folder)
    lines = terminal.scrolled()
    assert len([record for record in records if 'loss' in record]) == 4 == len(LINE.findall(text))
    assert not any(' eta: ' in line for line in lines)
    for news in ('Effective batch 4 = 1 process x 2 images x 2 accumulated', 'Saving checkpoint at 2 epochs', 'accuracy/top1: '):
        assert news in text and any(news in line for line in lines), news
    assert sum(line.startswith('epoch 2/2') for line in lines) == 1  # no remains of earlier drawings
    assert not terminal.screen.cursor.hidden


def test_a_pipe_a_dumb_terminal_and_one_switched_off_get_plain_lines(config, tmp_path):
    done = forks.done(*train(config, tmp_path / 'pipe')[3:], env={'FORCE_COLOR': '1'})
    assert done.returncode == 0 and len(LINE.findall(done.stdout)) == 4
    dumb = Terminal(*train(config, tmp_path / 'dumb'), TERM='dumb', forked=True)
    off = Terminal(*train(config, tmp_path / 'off', 'default_hooks.progress.enable=False'), forked=True)
    for terminal in (dumb, off):
        terminal.run()
        assert terminal.code == 0 and len(LINE.findall(terminal.text)) == 4
    assert 'step 20/20' not in done.stdout + dumb.text + off.text


def test_several_processes_get_plain_lines(config, tmp_path):
    command = ['bash', 'tools/dist_train.sh', config, 2, '--work-dir', tmp_path, '--cfg-options', 'auto_scale_lr=None']
    terminal = Terminal(*command, PYTHON=sys.executable, PORT=str(20000 + os.getpid() % 20000))
    terminal.run()
    assert terminal.code == 0 and len(LINE.findall(terminal.text)) == 4 and 'step 20/20' not in terminal.text


def test_an_error_stands_above_the_display_and_training_survives_the_terminal(config, tmp_path):
    for name in '01':  # the classes of the validation
        (tmp_path / 'data' / name).mkdir(parents=True)
        (tmp_path / 'data' / name / 'broken.png').write_bytes(b'no image')
    broken = Terminal(*train(config, tmp_path / 'broken', f'train_dataloader.dataset.data_root={tmp_path}/data',
                             'auto_scale_lr.base_batch_size=2'), columns=300, forked=True)
    list(broken.screens())
    lines = '\n'.join(broken.scrolled())
    assert broken.code == 3 and 'cannot be read as an image' in lines, lines
    assert lines.rindex('nepa_mm: error: it cannot be read as an image') < lines.rindex('step 0/2')

    lost = Terminal(*train(config, tmp_path / 'lost'), forked=True)
    for screen in lost.screens():
        if any('step 2/20' in line for line in screen):
            break
    lost.hang_up()
    assert lost.process.wait(timeout=200) is not None and (tmp_path / 'lost/epoch_2.pth').is_file()


def test_a_test_shows_its_own_bar(watched, config, tmp_path):
    command = [sys.executable, '-W', 'ignore', 'tools/test.py', config, watched[2] / 'epoch_2.pth', '--work-dir', tmp_path]
    terminal = Terminal(*command, forked=True)
    screens = list(terminal.screens())
    assert terminal.code == 0 and any('accuracy/top1: ' in line for line in terminal.scrolled())
    assert any(re.search(r'  test \d+/20 ', drawn(screen)) for screen in screens) and 'epoch' not in drawn(terminal.lines())
    assert re.search('  test 20/20 ━+ 100 %$', drawn(terminal.lines()))
