"""The experiments of docs/evidence.md: configs that fit each other, lists, tables, and the command itself."""
import json
import runpy
import shutil
import statistics
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import cv2
import forks
import numpy as np
import pytest
import torch
from mixes import importable
from mmengine.config import Config, DictAction
from mmengine.registry import MODELS, DefaultScope, init_default_scope

from nepa_mm.analysis.runs.experiment import Row, Training, configured, trainings_of
from nepa_mm.launch import training_process
from nepa_mm.launch.config_parts import value_at
from tiny import ROOT

PATH = ROOT / 'tools/analysis_tools/run_evidence.py'
TOOL = runpy.run_path(str(PATH))
TRAININGS = {training.name: training for rows in TOOL['EXPERIMENTS'].values() for training in trainings_of(rows())}


def with_options(training, folder):
    """Its config as it is trained."""
    cfg = Config.fromfile(configured(training, folder))
    options = (option.split('=') for option in training.options)
    cfg.merge_from_dict({key: DictAction._parse_iterable(value) for key, value in options})
    return cfg


def built(training, folder):
    """Its model, on no device and without weights."""
    cfg = with_options(training, folder)
    if 'mmdet.' in str(cfg.model) and not importable('mmdet.models'):
        pytest.skip('mmdet.models cannot be imported')
    cfg.model.backbone.init_cfg = None
    init_default_scope(cfg.default_scope)
    try:
        with torch.device('meta'):
            return MODELS.build(cfg.model)
    finally:
        DefaultScope._instance_dict.clear()


@pytest.mark.parametrize('name', TRAININGS)
def test_a_pretraining_fits_what_starts_from_it(name, tmp_path, monkeypatch):
    """Every tensor of the pretrained backbone has its place in the other, whose config says where it begins."""
    monkeypatch.chdir(ROOT)
    training = TRAININGS[name]
    init_cfg = with_options(training, tmp_path).model.backbone.get('init_cfg')
    assert (training.start is None) is (init_cfg is None)
    own = built(training, tmp_path).backbone.state_dict()
    if training.start:
        pretrained = built(training.start, tmp_path).backbone.state_dict()
        assert {key: value.shape for key, value in pretrained.items()} == {key: own[key].shape for key in pretrained}
        new = set(own) - set(pretrained)
        assert all('q_norm' in key or 'k_norm' in key or 'fc_norm' in key for key in new), new


@pytest.mark.parametrize('training', [t for t in TRAININGS.values() if t.change], ids=lambda t: t.name)
def test_a_change_lands(training, tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)
    cfg = Config.fromfile(configured(training, tmp_path))
    changes = runpy.run_path(f'configs/{training.change}').get('model', {})
    for part, values in changes.items():
        if isinstance(values, dict):
            values = {key: value for key, value in values.items() if key != 'init_cfg'}
            assert values.items() <= dict(value_at(cfg, f'model.{part}')).items()
        else:
            assert cfg.model[part] == values


def test_methods_differ_in_nothing_else(tmp_path, monkeypatch):
    """NEPA and MAE see the same images, crops and epochs and have the same encoder; what follows is the same training."""
    monkeypatch.chdir(ROOT)
    rows = {row.name.strip('*'): row for row in TOOL['EXPERIMENTS']['pretraining']()}
    for share in TOOL['FINETUNINGS']:
        nepa, mae = (rows[name].cells[share][0] for name in ('NEPA', 'MAE'))
        assert (nepa.config, nepa.change, nepa.options, nepa.labels) == (mae.config, mae.change, mae.options, mae.labels)
        scratch, tuned = (Config.fromfile(configured(rows[name].cells[share][0], tmp_path))
                          for name in ('from scratch', 'NEPA'))
        for key in ('train_dataloader', 'train_cfg', 'optim_wrapper', 'val_dataloader'):
            assert scratch[key] == tuned[key], key
    nepa, mae = (Config.fromfile(f'configs/{TOOL[name].config}') for name in ('NEPA', 'MAE'))
    for key in ('train_dataloader', 'train_cfg', 'param_scheduler'):
        assert nepa[key] == mae[key], key
    assert nepa.optim_wrapper.optimizer == mae.optim_wrapper.optimizer
    encoders = [dict(cfg.model.backbone) for cfg in (nepa, mae)]
    assert [encoder.pop('type') for encoder in encoders] == ['nepa_mm.NEPAViT', 'nepa_mm.MAENEPAViT']
    assert encoders[1].pop('mask_ratio') == 0.75 and encoders[0] == encoders[1]


def test_heads_train_the_parameters_that_stand_beside_them(tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)
    for row in TOOL['EXPERIMENTS']['heads']():
        (training, key), = row.cells.values()
        model, name = built(training, tmp_path), key.rpartition('/')[0]
        parts = [model]
        if name:  # of several heads
            parts = [named[name] for named in (model.decode_head.heads, model.decode_head.necks) if name in named]
        count = sum(value.numel() for part in parts for value in part.parameters() if value.requires_grad)
        assert row.paper == f'{count:,}', row.name
        assert not any(value.requires_grad for value in model.backbone.parameters()) or training.name == 'camvid_eomt'


@pytest.fixture
def work(tmp_path, monkeypatch):
    """A folder with ten classes of 20 images of noise, as CIFAR-10 lies."""
    noise = np.random.default_rng(0)
    for split in ('train', 'test'):
        for label in range(10):
            folder = tmp_path / f'data/cifar10/{split}/{label}_class'
            folder.mkdir(parents=True)
            for i in range(20 if split == 'train' else 2):
                cv2.imwrite(str(folder / f'{i}.png'), noise.integers(0, 256, (32, 32, 3), dtype=np.uint8))
    (tmp_path / 'configs').symlink_to(ROOT / 'configs')
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def tool(work, monkeypatch):
    """The tool with one short experiment and a page of its own; call it with options."""
    tool = runpy.run_path(str(PATH))
    short = ('train_dataloader.batch_size=8', 'auto_scale_lr.base_batch_size=8', 'train_cfg.max_epochs=1',
             'param_scheduler.end=1', 'param_scheduler.warmup=0', 'default_hooks.logger.interval=1',
             'train_dataloader.num_workers=0', 'train_dataloader.persistent_workers=False')
    start = Training('short', tool['NEPA'].config, options=(
        *short, 'val_dataloader.num_workers=0', 'val_dataloader.dataset.dataset.indices=20'))
    tuned = Training('tuned', tool['FINETUNINGS']['10 %'][0], start=start, labels='10pct', options=(
        *short, 'train_cfg.val_interval=1', 'default_hooks.checkpoint.interval=1'))
    rows = [Row('NEPA', '83.8', {'loss': (start, 'loss'), 'top-1': (tuned, 'accuracy/top1')}),
            Row('other', '', {'loss': (start, 'collapse')})]
    page = work / 'docs/evidence.md'
    (work / 'docs/evidence').mkdir(parents=True)
    page.write_text('before\n<!-- results of short -->\nold\n<!-- end of results -->\nafter\n<!-- end of results -->\n')
    globals_ = tool['main'].__globals__
    globals_.update(EXPERIMENTS={'short': lambda: rows}, DOCS=page.parent)

    for name in ('OMP_NUM_THREADS', 'TIMM_FUSED_ATTN'):  # what it sets for its trainings, and no other test is to see
        monkeypatch.setenv(name, '1')

    def run(*options):
        monkeypatch.setattr(sys, 'argv', [str(PATH), 'short', '--seeds', '2', '--jobs', '2', *options])
        tool['main'](tool['parse_args']())
        return page

    return run


@pytest.fixture
def forked_trainings(monkeypatch):
    """Trainings in processes that find their imports done."""
    def run(command, env, stdout, stderr):
        assert command[:3] == [sys.executable, '-W', 'ignore']
        done = forks.done(*command[3:], folder=Path.cwd(), env=env)
        stdout.write(done.stdout + done.stderr)
        return done

    monkeypatch.setattr(training_process, 'subprocess', SimpleNamespace(run=run, STDOUT=subprocess.STDOUT))


def test_an_experiment_from_the_command_to_the_page(tool, work, forked_trainings, capfd):
    page = tool('--docs')
    out = capfd.readouterr()
    assert out.out.count('tools/train.py') == 4
    records = [json.loads(line) for line in (work / 'docs/evidence/short.jsonl').read_text().splitlines()]
    assert [(record['training'], record['seed']) for record in records] == [
        ('short', 0), ('short', 1), ('tuned', 0), ('tuned', 1)]
    for record in records:
        assert record['command'].startswith('python tools/train.py configs/evidence/') and str(work) not in record['command']
        assert f'randomness.seed={record["seed"]}' in record['command'] and record['wall_s'] > 0
        assert [point['step'] for point in record['curve']] == list(range(1, len(record['curve']) + 1))
    assert 1 <= records[0]['results']['lidar'] <= 19  # one of 20 test images less
    assert len(records[0]['curve']) == 25 and records[0]['curve'][-1]['loss'] == records[0]['results']['loss']
    assert records[0]['curve'] != records[1]['curve']
    assert 'short/seed1/epoch_1.pth' in records[3]['command'] and '10pct_seed1.txt' in records[3]['command']
    loss, top1, collapse = (statistics.mean(record['results'][key] for record in part) for part, key in (
        (records[:2], 'loss'), (records[2:], 'accuracy/top1'), (records[:2], 'collapse')))
    text = page.read_text()
    assert text.startswith('before\n<!-- results of short -->\n| | loss | top-1 | paper |\n| --- | ---: | ---: | --- |\n')
    assert f'| NEPA | {loss:.3f} ± ' in text and f' | {top1:.1f} ± ' in text and f'| other | {collapse:.3f} ± ' in text
    assert text.endswith('each on one core.\n<!-- end of results -->\nafter\n<!-- end of results -->\n') and 'old' not in text

    tool()  # once more: nothing is trained again
    out = capfd.readouterr()
    assert out.out.count('finished before, kept') == 4 and 'tools/train.py' not in out.out
    assert page.read_text() == text

    shutil.rmtree(work / 'work_dirs')  # in a new clone, of a training that has no record: it and what it starts from
    path = work / 'docs/evidence/short.jsonl'
    path.write_text(''.join(path.read_text().splitlines(keepends=True)[:3]))
    tool('--docs', '--keep-records')
    assert capfd.readouterr().out.count('tools/train.py') == 2
    again = [json.loads(line) for line in path.read_text().splitlines()]
    assert again[:3] == records[:3] and again[3]['results'] == records[3]['results']
    assert page.read_text().splitlines()[:6] == text.splitlines()[:6]
