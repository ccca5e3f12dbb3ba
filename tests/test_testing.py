"""tools/test.py checks, builds and names what tools/train.py does, of the test."""
import json
import pickle
import re
import runpy
import shutil
import subprocess
import sys

import forks
import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import MODELS, DefaultScope
from PIL import Image

from nepa_mm import errors
from nepa_mm.errors import ConfigError
from nepa_mm.launch.checks import check_config
from tiny import ROOT

BACKBONE = dict(type='nepa_mm.NEPAViT', arch=dict(embed_dims=16, num_layers=2, num_heads=2, feedforward_channels=32), img_size=16,
                patch_size=8, causal=False)
CLASSIFY = dict(
    default_scope='mmpretrain', resume=True,
    model=dict(
        type='mmpretrain.ImageClassifier', data_preprocessor=dict(mean=[127.5] * 3, std=[127.5] * 3, to_rgb=True),
        backbone=dict(BACKBONE, out_type='avg_featmap'),
        head=dict(type='LinearClsHead', num_classes=2, in_channels=16, loss=dict(type='CrossEntropyLoss'))),
    test_dataloader=dict(
        batch_size=2, num_workers=0, persistent_workers=True, sampler=dict(type='DefaultSampler', shuffle=False),
        dataset=dict(type='CustomDataset', data_root='data',
                     pipeline=[dict(type='nepa_mm.LoadImage'), dict(type='CenterCrop', crop_size=16), dict(type='PackInputs')])),
    test_evaluator=[dict(type='Accuracy', topk=1), dict(type='SingleLabelMetric', items=['precision'])])
SEGMENT = dict(
    default_scope='mmseg',
    model=dict(
        type='mmseg.EncoderDecoder', data_preprocessor=dict(type='SegDataPreProcessor', mean=[127.5] * 3, std=[127.5] * 3),
        backbone=dict(BACKBONE, out_type='featmap', out_indices=[1]), test_cfg=dict(mode='whole'),
        decode_head=dict(type='FCNHead', in_channels=16, channels=8, num_convs=1, num_classes=2)),
    test_dataloader=dict(
        batch_size=1, num_workers=0, persistent_workers=True, sampler=dict(type='DefaultSampler', shuffle=False),
        dataset=dict(type='BaseSegDataset', data_root='road', img_suffix='.png', seg_map_suffix='.png',
                     metainfo=dict(classes=['ground', 'road'], palette=[[0, 0, 0], [255, 0, 0]]),
                     data_prefix=dict(img_path='img', seg_map_path='ann'),
                     pipeline=[dict(type='nepa_mm.LoadImage'), dict(type='nepa_mm.LoadSegAnnotations'),
                               dict(type='PackSegInputs')])),
    test_evaluator=[dict(type='IoUMetric', iou_metrics=['mFscore'], prefix='f'),
                    dict(type='nepa_mm.ExactIoUMetric', iou_metrics=['mIoU'])], test_cfg=dict())


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp('test')
    for i, name in enumerate(('data/a', 'data/b', 'road/img', 'road/ann')):
        (folder / name).mkdir(parents=True)
        for j in range(2):
            Image.new('L' if i == 3 else 'RGB', (16, 16), j if i == 3 else (100 * i, 50, 50)).save(folder / name / f'{j}.png')
    for kind in ('img', 'ann'):
        for name in 'ab':
            shutil.copytree(folder / 'road' / kind, folder / 'twice' / kind / name)
    for name, config in dict(classify=CLASSIFY, segment=SEGMENT).items():
        Config(config).dump(folder / f'{name}.py')
        with DefaultScope.overwrite_default_scope(config['default_scope']):
            model = MODELS.build(Config(dict(config)).model)
        torch.save(dict(state_dict=model.state_dict(), meta={}), folder / f'{name}.pth')
    return folder


def run(monkeypatch, folder, name, *arguments):
    """What the tool logs as metrics."""
    monkeypatch.chdir(folder)
    monkeypatch.setattr(errors, 'end_on_interrupt', lambda message: None)  # Ctrl-C is for pytest
    monkeypatch.setattr(sys, 'argv', ['test.py', f'{name}.py', f'{name}.pth', *map(str, arguments)])
    runpy.run_path(str(ROOT / 'tools/test.py'), run_name='__main__')


def test_no_workers_and_several_metrics_of_a_classifier(folder, tmp_path, monkeypatch):
    """Nor hooks, nor test_cfg; and resume=True of the training does not resume it."""
    run(monkeypatch, folder, 'classify', '--work-dir', tmp_path, '--out', tmp_path / 'out.pkl')
    assert len(pickle.loads((tmp_path / 'out.pkl').read_bytes())) == 4
    logged = json.loads(next(tmp_path.glob('*/*.json')).read_text())
    assert {'accuracy/top1', 'single-label/precision'} <= logged.keys()


def test_several_metrics_of_a_segmentor_write_the_maps_once(folder, tmp_path, monkeypatch):
    run(monkeypatch, folder, 'segment', '--work-dir', tmp_path, '--out', tmp_path / 'maps')
    assert sorted(path.name for path in (tmp_path / 'maps').iterdir()) == ['0.png', '1.png']
    with pytest.raises(SystemExit) as exit_:
        run(monkeypatch, folder, 'segment', '--work-dir', tmp_path, '--out', tmp_path / 'maps')
    assert exit_.value.code == 2  # what a test has written stays
    logged = json.loads(next(tmp_path.glob('*/*.json')).read_text())
    assert {'f/mFscore', 'mIoU'} <= logged.keys()


@pytest.mark.parametrize('name, options, said', [
    ('classify', ['default_hooks.visualization.type=VisualizationHook', '--show-dir', 'drawn'],
     '4 images have 2 names, and what is written for data/b/0.png would replace that for data/a/0.png | --show-dir | '),
    ('segment', ['test_dataloader.dataset.data_root=twice', '--out', 'maps'], '4 images have 2 names, '),
    ('classify', ['test_dataloader.num_workers=-1'], '-1 is no whole number of 0 or more | test_dataloader.num_workers'),
    ('classify', ['test_dataloader.batch_size=0'], '0 is no whole number of 1 or more | test_dataloader.batch_size'),
    ('classify', ['test_dataloader.dataset.pipeline.1.type=CentreCrop'],
     "'CentreCrop' is not registered | test_dataloader.dataset.pipeline.1.type | did you mean"),
    ('segment', [f'test_evaluator.{i}.type=mmpretrain.Accuracy' for i in range(2)] + ['--out', 'maps'],
     "['mmpretrain.Accuracy', 'mmpretrain.Accuracy']: none writes label maps | test_evaluator"),
    ('segment', ['test_evaluator=mIoU'], "'mIoU' is no metric, nor a list of them | test_evaluator"),
])
def test_what_is_wrong_with_a_test_is_one_line(name, options, said, folder, tmp_path, monkeypatch, capsys):
    with pytest.raises(SystemExit) as exit_:
        run(monkeypatch, folder, name, '--work-dir', tmp_path, '--cfg-options', *options)
    assert exit_.value.code == 2
    assert f'nepa_mm: error: {said}' in capsys.readouterr().err.strip().splitlines()[-1]


@pytest.mark.parametrize('name, said', [
    ('old.json', 'it exists and would be written over | old.json | '),
    ('metrics.txt', 'it is of no format known here | metrics.txt | end it in .json, .pkl'),
    ('old.json/metrics.json', 'it cannot be written (File exists: old.json) | old.json/metrics.json | ')])
def test_metrics_that_cannot_be_written_are_refused_before_the_test(name, said, folder, tmp_path, monkeypatch, capsys):
    (folder / 'old.json').write_text('old')
    with pytest.raises(SystemExit) as exit_:
        run(monkeypatch, folder, 'classify', '--work-dir', tmp_path / 'w', '--out-item', 'metrics', '--out', name)
    assert exit_.value.code == 2 and f'nepa_mm: error: {said}' in capsys.readouterr().err.strip().splitlines()[-1]
    assert (folder / 'old.json').read_text() == 'old' and not (tmp_path / 'w').exists()


@pytest.mark.parametrize('name', ['metrics.JSON', 'metrics.pkl'])
def test_metrics_of_any_kind_are_written(name, folder, tmp_path, monkeypatch):
    metrics = [dict(type='Accuracy', topk=1), dict(type='ConfusionMatrix')]
    Config(dict(CLASSIFY, test_evaluator=metrics)).dump(folder / 'matrix.py')
    shutil.copy(folder / 'classify.pth', folder / 'matrix.pth')
    run(monkeypatch, folder, 'matrix', '--work-dir', tmp_path, '--out-item', 'metrics', '--out', tmp_path / name)
    content = (tmp_path / name).read_bytes()
    metrics = json.loads(content) if name.endswith('JSON') else pickle.loads(content)
    assert np.sum(np.array(metrics['confusion_matrix/result'])) == 4 and 'accuracy/top1' in metrics


def test_pictures_of_every_none_are_refused(folder, tmp_path, monkeypatch, capsys):
    with pytest.raises(SystemExit) as exit_:
        run(monkeypatch, folder, 'classify', '--work-dir', tmp_path, '--show-dir', tmp_path / 'drawn', '--interval', 0)
    assert exit_.value.code == 2 and '0 is less than 1 | --interval | give 1 or more' in capsys.readouterr().err


def test_loaders_are_checked_in_the_splits_that_run(folder, monkeypatch):
    monkeypatch.chdir(folder)
    cfg = Config(dict(CLASSIFY, val_dataloader=dict(CLASSIFY['test_dataloader'], batch_size=0)))
    check_config(cfg, ('test', ))
    with pytest.raises(ConfigError, match='val_dataloader.batch_size'):
        check_config(cfg, ('train', 'val'))


def page_of(path):
    """Text of a report."""
    return path.read_text(encoding='utf-8')


def test_a_test_ends_with_a_report(folder, tmp_path, monkeypatch, capfd):
    """Whatever hooks the config has: beside the log, or where the command says."""
    run(monkeypatch, folder, 'segment', '--work-dir', tmp_path / 'w')
    log, = (path.read_text() for path in (tmp_path / 'w').glob('*/*.log'))
    page = page_of(next((tmp_path / 'w').glob('*/report.html')))
    assert 'Test of segment.pth' in log and 'classes, worst first' in log and 'The report with pictures: ' in log
    metric = json.loads(next((tmp_path / 'w').glob('*/*.json')).read_text())['mIoU']
    assert re.search(rf'\nmean +512 +{metric:.2f} ', log) and f'>{metric:.2f}</td>' in page
    assert page.count('data:image/') == 2 * 3 and 'img/1.png' in page
    run(monkeypatch, folder, 'classify', '--work-dir', tmp_path / 'c', '--out-html', tmp_path / 'new/report.html')
    page = page_of(tmp_path / 'new/report.html')
    top1 = json.loads(next((tmp_path / 'c').glob('*/*.json')).read_text())['accuracy/top1']
    assert not list((tmp_path / 'c').glob('*/report.html'))
    assert page.count('data:image/jpeg') == 4 and f'<td>4</td><td>{top1:.2f}</td>' in page


@pytest.mark.parametrize('name, said', [
    ('old.html', 'it exists and would be written over | old.html | '), ('data', 'it is of no format known here | data | '),
    ('folder.html', 'it exists and would be written over | folder.html | '),
    ('old.html/r.html', 'it cannot be written (File exists: old.html) | old.html/r.html | '),
    ('report.txt', 'it is of no format known here | report.txt | end it in .html')])
def test_a_report_that_cannot_be_written_is_refused_before_the_test(name, said, folder, tmp_path, monkeypatch, capsys):
    (folder / 'old.html').write_text('old')
    (folder / 'folder.html').mkdir(exist_ok=True)
    with pytest.raises(SystemExit) as exit_:
        run(monkeypatch, folder, 'classify', '--work-dir', tmp_path / 'w', '--out-html', name)
    assert exit_.value.code == 2 and f'nepa_mm: error: {said}' in capsys.readouterr().err.strip().splitlines()[-1]
    assert (folder / 'old.html').read_text() == 'old' and not (tmp_path / 'w').exists()


ALONE = ['test_evaluator.0.format_only=True', 'test_evaluator.0.type=nepa_mm.ExactIoUMetric', 'test_evaluator.1.format_only=True',
         'test_evaluator.1.output_dir=second']


@pytest.mark.parametrize('loader', ['nepa_mm.LoadSegAnnotations', 'LoadAnnotations'])
def test_label_maps_without_labels(loader, folder, tmp_path, monkeypatch, capfd):
    """A submission: of images that have none, whatever loads them."""
    (tmp_path / 'test').mkdir()
    for i in range(3):
        Image.new('RGB', (16, 16), (100 * i, 50, 50)).save(tmp_path / f'test/{i}.png')
    monkeypatch.chdir(folder)
    options = [option.replace('second', str(tmp_path / 'second')) for option in ALONE]
    run(monkeypatch, folder, 'segment', '--work-dir', tmp_path / 'w', '--out', tmp_path / 'maps', '--cfg-options', *options,
        f'test_dataloader.dataset.data_root={tmp_path}', 'test_dataloader.dataset.data_prefix.img_path=test',
        f'test_dataloader.dataset.pipeline.1.type={loader}')
    for name in ('maps', 'second'):
        assert sorted(path.name for path in (tmp_path / name).iterdir()) == ['0.png', '1.png', '2.png']
    printed = capfd.readouterr().out
    assert f'No report: {tmp_path / "maps"} gets label maps, which are compared with none' in printed
    assert 'worst first' not in printed and 'mIoU' not in printed.split('No report')[1] and not list(tmp_path.glob('w/*/*.html'))


@pytest.mark.slow
def test_two_processes_write_label_maps_of_a_list_of_images_alone(folder, tmp_path):
    (tmp_path / 'list.txt').write_text('img/1.png\nimg/0.png\nimg/2.png\n')
    shutil.copytree(folder / 'road/img', tmp_path / 'img')
    shutil.copy(tmp_path / 'img/1.png', tmp_path / 'img/2.png')
    pairs = dict(SEGMENT['test_dataloader']['dataset'], type='nepa_mm.SegPairs', data_root=str(tmp_path), ann_file='list.txt')
    for key in ('data_prefix', 'img_suffix', 'seg_map_suffix'):
        pairs.pop(key)
    loader = dict(SEGMENT['test_dataloader'], dataset=pairs)
    Config(dict(SEGMENT, test_dataloader=loader, test_evaluator=dict(type='nepa_mm.ExactIoUMetric', format_only=True))).dump(
        tmp_path / 'alone.py')
    done = subprocess.run(['bash', ROOT / 'tools/dist_test.sh', 'alone.py', folder / 'segment.pth', '2', '--out', 'maps'],
                          cwd=tmp_path, env={**forks.ENV, 'PYTHON': sys.executable}, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert sorted(path.name for path in (tmp_path / 'maps').iterdir()) == ['0.png', '1.png', '2.png']


@pytest.mark.parametrize('name, options, said', [
    ('segment', [f'test_evaluator.{i}.format_only=True' for i in range(2)],
     'True writes label maps, and no folder is named for them | test_evaluator.0.format_only | give a new one by --out'),
    ('classify', ['test_evaluator.0.format_only=True'],
     'True is for label maps, and Accuracy compares classes with labels | test_evaluator.0.format_only | leave it out; tools/i'),
    ('classify', ['test_dataloader.dataset.with_label=False'],
     'Accuracy needs labels, which these images have not | test_dataloader.dataset.with_label | give labelled ones; tools/in')])
def test_tests_without_labels_that_could_write_nothing(name, options, said, folder, tmp_path, monkeypatch, capsys):
    with pytest.raises(SystemExit) as exit_:
        run(monkeypatch, folder, name, '--work-dir', tmp_path, '--cfg-options', *options)
    assert exit_.value.code == 2
    assert f'nepa_mm: error: {said}' in capsys.readouterr().err.strip().splitlines()[-1]


def test_images_without_class_folders_are_sent_to_the_command_that_takes_them(folder, tmp_path, monkeypatch, capsys):
    with pytest.raises(SystemExit) as exit_:
        run(monkeypatch, folder, 'classify', '--work-dir', tmp_path, '--cfg-options',
            'test_dataloader.dataset.data_root=road/img')
    assert exit_.value.code == 3
    assert 'classify_images.py IMAGES CHECKPOINT --out classes.csv is for images without labels' in capsys.readouterr().err
