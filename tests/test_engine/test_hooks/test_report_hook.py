"""The report stands once at the end of a training or a test, and two processes give that of one."""
import os
import re
import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace

import forks
import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import MODELS, DefaultScope
from PIL import Image

from nepa_mm.engine import ReportHook
from nepa_mm.engine.hooks.report_hook import read_again
from nepa_mm.errors import DataError, StorageError
from nepa_mm.evaluation.tallies import Scored, SegmentationTally
from tiny import ROOT

CONFIG = '''
default_scope = 'mmpretrain'
model = dict(
    type='ImageClassifier', data_preprocessor=dict(mean=[127.5] * 3, std=[127.5] * 3, to_rgb=True),
    backbone=dict(
        type='nepa_mm.NEPAViT', arch=dict(embed_dims=16, num_layers=2, num_heads=2, feedforward_channels=32), img_size=16,
        patch_size=8, causal=False, out_type='avg_featmap'),
    head=dict(type='LinearClsHead', num_classes=3, in_channels=16, loss=dict(type='CrossEntropyLoss')))
loader = dict(
    batch_size=2, num_workers=0, sampler=dict(type='DefaultSampler', shuffle=False), collate_fn=dict(type='default_collate'),
    dataset=dict(type='CustomDataset', data_root='data', pipeline=[dict(type='nepa_mm.LoadImage'), dict(type='PackInputs')]))
train_dataloader = val_dataloader = test_dataloader = loader
val_evaluator = test_evaluator = dict(type='Accuracy', topk=1)
train_cfg = dict(by_epoch=True, max_epochs=3, val_interval=1)
val_cfg = test_cfg = dict()
optim_wrapper = dict(optimizer=dict(type='SGD', lr=0.1))
default_hooks = dict(report=dict(type='nepa_mm.ReportHook'))
custom_hooks = [dict(type='EMAHook', momentum=0.5, evaluate_on_origin=True)]
randomness = dict(seed=0)
'''


@pytest.fixture
def folder(tmp_path):
    for label in range(3):
        (tmp_path / f'data/{label}').mkdir(parents=True)
        for number in range(label + 1 + (label == 2)):  # 7 images, which two processes cannot share alike
            pixels = np.random.default_rng([label, number]).integers(0, 256, (16, 16, 3), np.uint8)
            Image.fromarray(pixels).save(tmp_path / f'data/{label}/{number}.png')
    (tmp_path / 'config.py').write_text(CONFIG)
    return tmp_path


def logged(work_dir):
    text, = (path.read_text() for path in work_dir.glob('*/*.log'))
    return text


def tables(log):
    """The tables of a log, from its only title on."""
    _, text = re.split(r'\n(?=Test of |Last validation of )', log)
    return re.split(r'\n20\d\d/', text)[0]


def test_a_training_reports_its_last_validation_once_by_the_average_that_is_validated(folder):
    forks.run(folder, ROOT / 'tools/train.py', 'config.py', '--work-dir', 'run')
    log = logged(folder / 'run')
    assert log.count('classes, worst first') == 1
    shown = tables(log)
    assert shown.startswith('Last validation of config, after 12 iterations\n')
    top1 = re.findall(r'accuracy/top1: ([\d.]+)', log)[-1]
    assert re.search(rf'\nall +7 +{float(top1):.2f}\n', shown)  # 7: the second evaluation, of other weights, is not added
    assert log.rindex('accuracy/top1') < log.index('classes, worst first')
    page, = (folder / 'run').glob('*/report.html')
    assert f'The report with pictures: {page}' in log


def test_a_training_that_stops_early_reports_the_validation_that_stopped_it(folder):
    stopping = "dict(type='EarlyStoppingHook', monitor='accuracy/top1', min_delta=100., patience=1)"
    (folder / 'config.py').write_text(f'{CONFIG}custom_hooks = [{stopping}]\ntrain_cfg.update(max_epochs=9)\n')
    forks.run(folder, ROOT / 'tools/train.py', 'config.py', '--work-dir', 'run')
    log = logged(folder / 'run')
    assert log.count('classes, worst first') == 1 and log.count('Epoch(val) [2]') == 1 and 'Epoch(val) [3]' not in log
    assert tables(log).startswith('Last validation of config, after 8 iterations\n')


def test_a_file_that_is_there_is_refused_before_a_training(folder):
    (folder / 'old.html').write_text('old')
    code, said = forks.start(folder, ROOT / 'tools/train.py', 'config.py', '--work-dir', 'run', '--cfg-options',
                             'default_hooks.report.out_html=old.html')
    assert code == 2 and 'it exists and would be written over | old.html' in said
    assert not list(folder.glob('run/*.pth')) and (folder / 'old.html').read_text() == 'old'


@pytest.mark.parametrize('out_html', [None, 'report.html'])
def test_on_a_full_disk_a_training_ends_well_and_a_report_that_was_asked_for_is_an_error(out_html, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    said = []
    logger = SimpleNamespace(info=said.append, warning=said.append)
    hook = ReportHook(out_html)
    hook.report = SimpleNamespace(text=lambda: 'tables', page=lambda picture_of: open('/dev/full', 'w', buffering=1).write('\n'))
    run = SimpleNamespace(logger=logger, log_dir=str(tmp_path), cfg={})
    with pytest.raises(StorageError, match='No space left.*report.html') if out_html else nullcontext():
        hook.after_run(run)
    assert said[0] == '\ntables' and not list(tmp_path.iterdir())
    if not out_html:
        assert said[1] == f'{tmp_path}/report.html cannot be written: No space left on device'


def test_pictures_come_from_files_bytes_and_arrays(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (8, 8, 3), np.uint8)
    path = str(tmp_path / '1.png')
    Image.fromarray(pixels).save(path)
    content = Path(path).read_bytes()
    for name, info in ((path, dict(img_path=path)), ('in 1', dict(img_path='in 1', img_bytes=content)), ('0', dict(img=pixels)),
                       (path, dict(img_path='another', img_bytes=b''))):  # where a sampler has shuffled the images
        dataset = SimpleNamespace(get_data_info=lambda index: info)  # noqa: B023
        assert (np.asarray(read_again(dataset, Scored(0., 0, name, None))) == pixels).all()
    with pytest.raises(DataError):
        read_again([], Scored(0., 0, 'nowhere.png', None))


def test_of_four_channels_the_first_three_are_shown(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (8, 8, 4), np.uint8)
    Image.fromarray(pixels).save(tmp_path / '1.png')
    picture = read_again([], Scored(0., 0, str(tmp_path / '1.png'), None), bands=4)
    assert (np.asarray(picture) == pixels[..., :3]).all()


@pytest.mark.slow
def test_two_processes_give_the_report_of_one(folder):
    cfg = Config.fromfile(folder / 'config.py')
    torch.manual_seed(0)
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        model = MODELS.build(cfg.model)
    torch.save(dict(state_dict=model.state_dict(), meta={}), folder / 'model.pth')
    options = ['--cfg-options', 'custom_hooks=[]']
    forks.run(folder, ROOT / 'tools/test.py', 'config.py', 'model.pth', '--work-dir', 'one', '--out-html', 'one.html', *options)
    two = ['bash', ROOT / 'tools/dist_test.sh', 'config.py', 'model.pth', '2', '--work-dir', 'two', '--out-html', 'two.html']
    done = subprocess.run([*two, *options], cwd=folder, env={**forks.ENV, 'PYTHON': sys.executable}, capture_output=True,
                          text=True, timeout=300)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert tables(logged(folder / 'two')) == tables(logged(folder / 'one'))
    one, two = (re.sub(r'<dd>20\d\d-.*</dd>', '', (folder / name).read_text()) for name in ('one.html', 'two.html'))
    assert one == two and one.count('data:image/') == 7


def test_metrics_without_classes_say_so_in_a_line(folder):
    (folder / 'config.py').write_text(CONFIG + '''
model = dict(type='nepa_mm.NEPA', backbone=dict(model['backbone'], causal=True, out_type='raw'),
             data_preprocessor=dict(type='SelfSupDataPreprocessor', mean=[127.5] * 3, std=[127.5] * 3))
bank = dict(loader['dataset'], pipeline=[*loader['dataset']['pipeline'], dict(type='nepa_mm.KNNBank')])
val_dataloader = dict(loader, dataset=dict(type='ConcatDataset', datasets=[bank, loader['dataset']]))
val_cfg = dict(type='nepa_mm.FeatureValLoop')
val_evaluator = dict(type='nepa_mm.KNNAccuracy', k=1)
test_dataloader = test_evaluator = test_cfg = None
''')
    forks.run(folder, ROOT / 'tools/train.py', 'config.py', '--work-dir', 'run')
    log = logged(folder / 'run')
    assert log.count('No report: there is none of what KNNAccuracy measures') == 1 and 'worst first' not in log
    assert not list(folder.glob('run/*/report.html'))


def test_the_title_names_the_head_of_several():
    hook = ReportHook()
    hook.dataset, hook.palette = range(3), ()
    runner = SimpleNamespace(cfg=SimpleNamespace(filename='a.py'), _train_loop=None, _load_from='runs/iter_3.pth')
    titles = [hook.report_of(runner, SegmentationTally('ab', 255, head), {}).title for head in ('dpt', None)]
    assert titles == ['Test of iter_3.pth, head dpt', 'Test of iter_3.pth']


def test_a_name_that_is_no_text_stands_in_the_report(folder):
    image = folder / 'data/0/0.png'
    image.rename(os.fsdecode(os.fsencode(image.parent) + b'/\xff.png'))
    forks.run(folder, ROOT / 'tools/train.py', 'config.py', '--work-dir', 'run')
    page, = (folder / 'run').glob('*/report.html')
    assert '/\\udcff.png' in page.read_text(encoding='utf-8')
