import csv
import json
import runpy
import sys

import pytest
import torch
from PIL import Image
from test_tools import python

from nepa_mm import NEPA, NEPAViT
from nepa_mm.errors import CheckpointError, ConfigError
from tiny import ROOT

ARCH = dict(embed_dims=16, num_layers=1, num_heads=2, feedforward_channels=32)
CONFIG = '''
_base_ = '{root}/configs/classification/nepa_vit-mini-p8_1xb32-coslr-10e_shapes-48px.py'
model = dict(backbone=dict(arch=dict({arch}), img_size=64, patch_size=16), head=dict(in_channels=16))
train_dataloader = dict(batch_size=8, num_workers=0, persistent_workers=False, dataset=dict(data_root='{shapes}/imagenet'))
val_dataloader = dict(num_workers=0, persistent_workers=False, dataset=dict(data_root='{shapes}/imagenet'))
param_scheduler = dict(warmup=0, end=1)
train_cfg = dict(max_epochs=1, val_interval=1)
custom_hooks = [dict(type='EMAHook', momentum=1e-3, evaluate_on_origin=True, priority='ABOVE_NORMAL')]
default_hooks = dict(checkpoint=dict(interval=1))
'''


@pytest.fixture
def sweep(tmp_path):
    """Arguments of a sweep whose pretraining saved epochs 2, 9 and 10."""
    python('tools/demo/draw_shapes.py', tmp_path / 'shapes', '--train', '4', '--val', '2', '--seg-train', '1', '--seg-val', '1')
    arch = ', '.join(f'{key}={value}' for key, value in ARCH.items())
    (tmp_path / 'config.py').write_text(CONFIG.format(root=ROOT, shapes=tmp_path / 'shapes', arch=arch))
    (tmp_path / 'pretrain').mkdir()
    for epoch in (2, 9, 10):
        model = NEPA(NEPAViT(arch=ARCH, img_size=64, patch_size=16))
        torch.save(dict(state_dict=model.state_dict(), meta={}), tmp_path / f'pretrain/epoch_{epoch}.pth')
    return [tmp_path / 'config.py', tmp_path / 'pretrain', '--work-dir', tmp_path / 'sweep']


@pytest.fixture
def call(monkeypatch):
    """Call the tool's main() in this process."""
    tool = runpy.run_path(str(ROOT / 'tools/sweep_finetune.py'))

    def call_main(*arguments):
        monkeypatch.setattr(sys, 'argv', ['sweep', *map(str, arguments)])
        tool['main'](tool['parse_args']())

    return call_main


def epochs(folder):
    return [row['pretrain_epoch'] for row in csv.DictReader(open(folder / 'results.csv'))]


@pytest.mark.slow
def test_sweeps_once_and_goes_on_where_it_stopped(sweep, call, tmp_path, capfd):
    out = tmp_path / 'sweep'
    printed = python('tools/sweep_finetune.py', *sweep, '--epochs', '10', '2')
    assert epochs(out) == ['2', '10'] and 'top1_origin' in printed
    for row in csv.DictReader(open(out / 'results.csv')):
        file, = out.glob(f"epoch_{row.pop('pretrain_epoch')}/*/vis_data/scalars.json")
        logged = json.loads(file.read_text().splitlines()[-1])
        assert row == {key: str(logged[key]) for key in ('accuracy/top1', 'accuracy/top1_origin')}
        log, = file.parents[1].glob('*.log')
        assert f'pretrain/{file.parents[2].name}.pth' in log.read_text()  # it started from its own checkpoint
    assert min(Image.open(out / 'results.png').size) > 300

    # What was killed before its first checkpoint begins anew.
    (out / 'epoch_2/done').unlink()
    for path in (out / 'epoch_2').glob('*.pth'):
        path.unlink()
    call(*sweep, '--epochs', 2)
    assert 'Epoch(train) [1][' in capfd.readouterr().out and (out / 'epoch_2/done').exists()

    # What is finished is kept, what stopped short of its mark is resumed, and the table still covers both.
    (out / 'epoch_10/done').unlink()
    (out / 'results.csv').unlink()
    capfd.readouterr()
    call(*sweep, '--epochs', 10)
    printed = capfd.readouterr().out
    assert 'resumed epoch: 1' in printed and 'Epoch(train)' not in printed and epochs(out) == ['2', '10']
    call(*sweep, '--epochs', 2, 10)
    printed = capfd.readouterr().out
    assert printed.count('finished before, kept') == 2 and 'train.py' not in printed
    with pytest.raises(ConfigError, match='holds a sweep with other settings.*choose another folder'):
        call(*sweep, '--cfg-options', 'randomness.seed=1')


def test_errors(call, tmp_path):
    (tmp_path / 'run').mkdir()
    for epoch in (9, 10):
        (tmp_path / f'run/epoch_{epoch}.pth').touch()
    mini = ROOT / 'configs/classification/nepa_vit-mini-p8_1xb32-coslr-10e_shapes-48px.py'
    for arguments, error, message in (
        ([mini, tmp_path / 'none'], CheckpointError, r"none' does not exist \| pretrain_work_dir \| give the --work-dir"),
        ([mini, ROOT / 'tests'], CheckpointError, 'no epoch_.*interval=100 default_hooks.checkpoint.max_keep_ckpts=-1'),
        ([mini, tmp_path / 'run', '--epochs', 9, 5], CheckpointError, r'no checkpoint of \[5\], but of \[9, 10\].*keep_ckpts'),
        ([tmp_path / 'none.py', tmp_path / 'run'], ConfigError, r'no such config file \| .*none.py'),
        ([ROOT / 'configs/_base_/default_runtime.py', tmp_path], ConfigError, r"no val_evaluator=dict\(type='Accuracy'\)"),
    ):
        with pytest.raises(error, match=message) as raised:
            call(*arguments)
        assert '\n' not in str(raised.value)
