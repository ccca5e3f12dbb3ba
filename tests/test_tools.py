"""The real commands, in processes of their own, on a small drawn data set."""
import json
import os
import pickle
import re
import runpy
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import forks
import pytest
import torch
from PIL import Image

from tiny import ROOT
from two import free_port

ENV = {**os.environ, 'PORT': str(free_port()), 'PYTHON': sys.executable, 'OMP_NUM_THREADS': '1', 'PYTHONPATH': ''}
MINI = 'nepa_vit-mini-p8'
BACKBONE = '''dict(
    type='nepa_mm.NEPAViT',
    arch=dict(embed_dims=16, num_layers=2, num_heads=2, feedforward_channels=32), img_size=32, patch_size=8, {})'''


def start(*command, cwd=ROOT):
    return subprocess.Popen(
        [str(part) for part in command], cwd=cwd, env=ENV, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def run(*command, cwd=ROOT):
    process = start(*command, cwd=cwd)
    out, err = process.communicate(timeout=600)
    assert process.returncode == 0, out[-3000:] + err[-3000:]
    return out


def python(script, *args, cwd=ROOT, **options):
    done = forks.done(ROOT / script, *args, folder=cwd, timeout=600, **options)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout


@pytest.fixture(scope='session')
def demo(tmp_path_factory):
    """The whole demo at its smallest: data, four stages, pictures; and what it printed."""
    folder = tmp_path_factory.mktemp('demo')
    printed = python('tools/demo/run_demo.py', '--quick', '--out', folder / 'out', '--data', folder / 'shapes',
                     fork_children=True)
    return folder / 'out', folder / 'shapes', printed


def test_demo_runs_every_stage_and_prints_a_table(demo):
    out, _, printed = demo
    assert [(out / stage / 'done').exists() for stage in ('pretrain', 'finetune', 'scratch', 'segmentation')] == [True] * 4
    for text in ('pretraining loss', 'top-1, pretrained', 'top-1, from scratch', 'mIoU', 'images/s', 'picture'):
        assert text in printed
    assert 'epoch 18/18, loss -' in printed  # progress
    for name in ('query_patches.png', 'segmentation.png'):
        assert min(Image.open(out / name).size) > 300
    assert '61 of 61 backbone tensors loaded; created: 8 affine' in (out / 'finetune/output.log').read_text()
    assert 'backbone tensors loaded' not in (out / 'scratch/output.log').read_text()


def test_demo_whose_stage_fails_stops_the_others_and_names_its_log(demo, tmp_path):
    shutil.copytree(demo[0] / 'pretrain', tmp_path / 'out/pretrain', ignore=shutil.ignore_patterns('*.pth'))
    done = forks.done('tools/demo/run_demo.py', '--quick', '--out', tmp_path / 'out', '--data', demo[1], fork_children=True)
    assert done.returncode == 1 and 'finished before, kept' in done.stdout
    assert re.search(r'the demo stopped in "[34]/4 .*" \| .*output.log \| see the end of this log', done.stderr)
    assert not any((tmp_path / 'out' / stage / 'done').exists() for stage in ('finetune', 'segmentation'))


def test_demo_data_is_the_same_for_the_same_seed_and_is_never_written_over(demo, tmp_path):
    sizes = ['--train', '10', '--val', '2', '--seg-train', '10', '--seg-val', '3']
    python('tools/demo/draw_shapes.py', tmp_path / 'again', *sizes)
    first, again = ({path.relative_to(folder): path.read_bytes() for path in folder.rglob('*') if path.is_file()}
                    for folder in (demo[1], tmp_path / 'again'))
    assert first == again and len(first) == 8 * 12 + 2 * 13 + 1
    done = forks.done('tools/demo/draw_shapes.py', demo[1], '--seed', '1')
    assert 'holds another data set' in done.stderr and done.returncode == 2


def test_test_py_reads_classification_and_segmentation_alike(demo, tmp_path):
    out, shapes, _ = demo
    root = f'test_dataloader.dataset.data_root={shapes}'
    # With averaged weights, as the recipes train, and raw ones that are nothing
    checkpoint = torch.load(out / 'finetune/epoch_10.pth', weights_only=False)
    raw = {f'module.{name}': torch.full_like(value, float('nan')) for name, value in checkpoint['state_dict'].items()}
    torch.save(dict(checkpoint, ema_state_dict={'steps': torch.tensor(1), **raw}), tmp_path / 'ema.pth')
    config = tmp_path / 'ema.py'
    config.write_text(f"_base_ = '{next((out / 'finetune').glob('*.py'))}'\n"
                      "custom_hooks = [dict(type='EMAHook', momentum=1e-4, evaluate_on_origin=True)]\n")
    python('tools/test.py', config, tmp_path / 'ema.pth', '--work-dir', tmp_path / 'c', '--out', tmp_path / 'pred.pkl',
           '--tta', '--cfg-options', root + '/imagenet')
    predictions = pickle.loads((tmp_path / 'pred.pkl').read_bytes())
    assert len(predictions) == 16 and predictions[0]['pred_score'].sum().item() == pytest.approx(1, abs=1e-5)

    config = next((out / 'segmentation').glob('*.py'))
    printed = python('tools/test.py', config, out / 'segmentation/iter_4.pth', '--work-dir', tmp_path / 's', '--out',
                     tmp_path / 'maps', '--show-dir', tmp_path / 'pictures', '--cfg-options', root + '/ADEChallengeData2016')
    assert 'mIoU' in printed
    assert len(list((tmp_path / 'maps').glob('*.png'))) == 3 and list((tmp_path / 'pictures').rglob('*.png'))


def test_two_processes_that_accumulate_take_the_step_of_one(demo, tmp_path):
    config = tmp_path / 'config.py'
    config.write_text(f'''
default_scope = 'mmpretrain'
model = dict(
    type='nepa_mm.NEPA',
    backbone={BACKBONE.format("rope=dict(rescale=None), layer_scale_init_value=1.")},
    data_preprocessor=dict(type='SelfSupDataPreprocessor', mean=[127.5] * 3, std=[127.5] * 3))
train_dataloader = dict(
    batch_size=2, num_workers=0, sampler=dict(type='DefaultSampler', shuffle=False), collate_fn=dict(type='default_collate'),
    dataset=dict(
        type='CustomDataset', data_root='{demo[1]}/imagenet', data_prefix='val', with_label=False, indices=8,
        pipeline=[dict(type='LoadImageFromFile'), dict(type='CenterCrop', crop_size=32), dict(type='PackInputs')]))
optim_wrapper = dict(optimizer=dict(type='AdamW', lr=1e-3, weight_decay=0.05))
train_cfg = dict(type='nepa_mm.AccumulatingEpochLoop', max_epochs=2)
auto_scale_lr = dict(base_batch_size=8)
custom_hooks = [dict(type='EMAHook', momentum=0.3)]
randomness = dict(seed=3)
''')
    forks.run_together(2, 'tools/train.py', config, '--launcher', 'pytorch', '--work-dir', tmp_path / 'two')
    said = python('tools/train.py', config, '--work-dir', tmp_path / 'one', '--cfg-options', 'train_dataloader.batch_size=8')
    assert 'Effective batch 8 = 1 process x 8 images x 1 accumulated; lr 0.001; 2 iterations' in said
    two, one = (torch.load(tmp_path / n / 'epoch_2.pth', weights_only=False) for n in ('two', 'one'))
    for weights in ('state_dict', 'ema_state_dict'):  # of two optimizer steps; mmengine saves the average as state_dict
        assert two[weights].keys() == one[weights].keys()
        for name in one[weights]:
            torch.testing.assert_close(two[weights][name], one[weights][name], atol=1e-6, rtol=0, msg=name)
    bias = 'backbone.patch_embed.bias'  # zero at the start
    assert 1e-4 < one['state_dict'][bias].abs().max() < one['ema_state_dict']['module.' + bias].abs().max()

    # ... and the checkpoint resumes, while a new run into the same folder is refused.
    python('tools/train.py', config, '--work-dir', tmp_path / 'one', '--resume', '--allow-resume-change', '--cfg-options',
           'train_cfg.max_epochs=3')
    assert (tmp_path / 'one/epoch_3.pth').exists()


def test_a_converted_checkpoint_starts_fine_tuning_and_segmentation(demo, tmp_path):
    out, shapes, _ = demo
    python('tools/model_converters/nepa_mm_to_hf.py', out / 'pretrain/epoch_18.pth', tmp_path / 'released')
    python('tools/model_converters/nepa_hf_to_mm.py', tmp_path / 'released', tmp_path / 'nepa.safetensors')
    norms = 'created: 8 affine QK-norm weights as ones'
    for stage, data, length, address, created in [
            ('finetune', 'imagenet', 'train_cfg.max_epochs=1', tmp_path / 'nepa.safetensors',
             f'{norms}, 2 of fc_norm as the identity, head (2) at random'),
            ('segmentation', 'ADEChallengeData2016', 'train_cfg.max_iters=1', f'hf:{tmp_path}/released',
             f'{norms}, neck (11) at random, decode_head (74) at random, auxiliary_head (8) at random')]:
        said = python(
            'tools/train.py', next((out / stage).glob('*.py')), '--work-dir', tmp_path / stage, '--no-validate', '--cfg-options',
            f'train_dataloader.dataset.data_root={shapes}/{data}', length, 'model.backbone.init_cfg=None', f'load_from={address}')
        assert f'{address}: 61 of 61 backbone tensors loaded; {created}; ignored: nothing' in said

    # Evaluation creates nothing.
    done = forks.done(
        'tools/test.py', next((out / 'finetune').glob('*.py')), tmp_path / 'nepa.safetensors', '--work-dir', tmp_path / 'test',
        '--cfg-options', f'test_dataloader.dataset.data_root={shapes}/imagenet')
    assert done.returncode == 4
    assert 'error: a test needs every weight, and these would be created: 8 affine QK-norm weights' in done.stderr


def test_bad_input_ends_in_one_line(demo, tmp_path):
    out, shapes, _ = demo
    torch.save(dict(state_dict={'blocks.0.weight': torch.zeros(1)}), tmp_path / 'foreign.pth')
    pretrain = ROOT / 'configs/pretrain' / f'{MINI}_1xb64-coslr-18e_shapes-48px.py'
    classify = ROOT / 'configs/classification' / f'{MINI}_1xb32-coslr-10e_shapes-48px.py'
    data = [f'{split}_dataloader.dataset.data_root={shapes}/imagenet' for split in ('train', 'val')]
    cases = {
        (pretrain, 'train_dataloader.dataset.data_root=/nowhere'): (3, "'/nowhere' does not exist | "
                                                                       "train_dataloader.dataset.data_root | "),
        (pretrain, data[0], 'model.backbone.out_type=maps'): (2, "'maps' is unknown | model.backbone.out_type | choose from"),
        (pretrain, data[0], 'model.head.distance=cos'): (2, "'cos' is unknown | model.head.distance | choose from"),
        (pretrain, data[0], f'work_dir={out}/pretrain'): (2, 'holds another run (epoch_18.pth)'),
        (classify, *data, f'model.backbone.init_cfg.checkpoint={tmp_path}/foreign.pth'):
            (4, 'no weights of a NEPA ViT here (of another architecture, or under another prefix?)'),
        (classify, *data, 'model.backbone.init_cfg=None', f'load_from={tmp_path}/foreign.pth'):
            (4, "none of its 1 tensors belongs to ImageClassifier; first keys: ['blocks.0.weight']"),
    }
    processes = {}
    for i, (config, *options) in enumerate(cases):
        work_dir = [] if options[-1].startswith('work_dir') else ['--work-dir', tmp_path / str(i)]
        processes[(config, *options)] = forks.Process(['tools/train.py', config, *work_dir, '--cfg-options', *options])
    for case, (code, message) in cases.items():
        _, err = processes[case].communicate(timeout=600)
        last = err.strip().splitlines()[-1]
        assert processes[case].returncode == code and last.startswith('nepa_mm: error: ') and message in last, err[-2000:]
        assert 'Traceback' not in err


@pytest.mark.parametrize('config, options, message', [
    ('pretrain', ['train_dataloader.batch_size=48'], '64 is no multiple of 1 process x train_dataloader'),
    ('pretrain', ['auto_scale_lr.base_batch_size=6400'], 'is larger than an epoch of 80 images'),
    ('pretrain', ['train_cfg.max_epochs=1', 'param_scheduler.warmup=3'], 'a warm-up of 3 iterations is longer'),
    ('classify', ['param_scheduler.warmup=11'], '11 is not in [0, 10], the length of the schedule | param_scheduler.warmup | '
                                                ''),  # 2 iterations an epoch
    ('classify', ['model.head.num_classes=9'], '9 differs from model.data_preprocessor.num_classes=8 | model.head.num_classes'),
    ('classify', ['param_scheduler.decay=1.2'], '1.2 is not in (0, 1] | param_scheduler.decay | '),
    ('classify', ['param_scheduler.decay_end=0'], '0 is not in (0, 1] | param_scheduler.decay_end | '),
    ('classify', ['model.backbone.drop_path_rate=1.0'], '1.0 is not in [0, 1), the share of dropped last blocks | '
                                                        'model.backbone.drop_path_rate'),
    ('classify', ['model.backbone.frozen_stages=0'],
     '0 freezes a patch embedding that no checkpoint gives | model.backbone.frozen_stages'),
    ('imagenet', ['model.train_cfg.augments.0.num_classes=1'], '1 leaves nothing to mix | '
                                                               'model.train_cfg.augments.0.num_classes'),
])
def test_a_contradictory_recipe_ends_with_its_dotted_key(config, options, message, demo, tmp_path, monkeypatch, capsys):
    """In this process: that the tool prints one line and gives the code is tested above."""
    shapes = demo[1] / 'imagenet'
    path = dict(pretrain=f'pretrain/{MINI}_1xb64-coslr-18e_shapes-48px.py',
                classify=f'classification/{MINI}_1xb32-coslr-10e_shapes-48px.py',
                imagenet='classification/nepa_vit-base-p14_8xb128-coslr-100e_in1k-paper.py')[config]
    if config == 'imagenet':
        options = ['model.backbone.frozen_stages=-1', *options]
    if config != 'pretrain':
        options = ['model.backbone.init_cfg=None', f'val_dataloader.dataset.data_root={shapes}', *options]
    if config == 'imagenet':
        options += [f'{split}_dataloader.dataset.type=CustomDataset' for split in ('train', 'val')]
    options = [f'train_dataloader.dataset.data_root={shapes}', *options]
    arguments = [ROOT / 'configs' / path, '--work-dir', tmp_path, '--cfg-options', *options]
    monkeypatch.setattr(sys, 'argv', ['train.py', *map(str, arguments)])
    with pytest.raises(SystemExit) as exit_:
        runpy.run_path(str(ROOT / 'tools/train.py'), run_name='__main__')
    printed = capsys.readouterr().err.strip().splitlines()[-1]
    assert exit_.value.code == 2 and printed.startswith('nepa_mm: error: ') and message in printed
    assert not list(tmp_path.glob('*.pth'))


CLASSIFIER = '''
default_scope = '{scope}'
model = dict(
    type='mmpretrain.ImageClassifier',
    data_preprocessor=dict(type='mmpretrain.ClsDataPreprocessor', mean=[127.5] * 3, std=[127.5] * 3, to_rgb=True),
    backbone={backbone},
    head=dict(
        type='mmpretrain.LinearClsHead', num_classes=8, in_channels=16, loss=dict(type='mmpretrain.CrossEntropyLoss')))
train_dataloader = dict(
    batch_size=8, num_workers=0, persistent_workers=False, sampler=dict(type='DefaultSampler', shuffle=True),
    collate_fn=dict(type='default_collate'),
    dataset=dict(
        type='mmpretrain.CustomDataset', data_root='{shapes}/imagenet', data_prefix='val',
        pipeline=[dict(type='mmpretrain.LoadImageFromFile'), dict(type='mmpretrain.CenterCrop', crop_size=32),
                  dict(type='mmpretrain.PackInputs')]))
optim_wrapper = dict(
    optimizer=dict(type='AdamW', lr=1e-3), constructor='nepa_mm.LayerDecayOptimWrapperConstructor',
    paramwise_cfg=dict(layer_decay_rate=0.5))
train_cfg = dict(by_epoch=True, max_epochs=1)
default_hooks = dict(logger=dict(type='LoggerHook', interval=1))
'''
SEGMENTOR = '''
default_scope = 'mmseg'
model = dict(
    type='EncoderDecoder',
    data_preprocessor=dict(type='SegDataPreProcessor', mean=[127.5] * 3, std=[127.5] * 3, bgr_to_rgb=True, size=(60, 60)),
    backbone={backbone},
    decode_head=dict(type='FCNHead', in_channels=16, in_index=-1, channels=8, num_convs=1, num_classes=9),
    test_cfg=dict(mode='whole'))
train_dataloader = dict(
    batch_size=2, num_workers=0, persistent_workers=False, sampler=dict(type='InfiniteSampler', shuffle=True),
    dataset=dict(
        type='BaseSegDataset', data_root='{shapes}/ADEChallengeData2016', reduce_zero_label=True,
        metainfo=dict(classes=[str(i) for i in range(9)]),
        data_prefix=dict(img_path='images/validation', seg_map_path='annotations/validation'),
        pipeline=[dict(type='LoadImageFromFile'), dict(type='LoadAnnotations', reduce_zero_label=True),
                  dict(type='RandomCrop', crop_size=(60, 60)), dict(type='PackSegInputs')]))
optim_wrapper = dict(
    type='OptimWrapper', optimizer=dict(type='AdamW', lr=1e-3), constructor='nepa_mm.LayerDecayOptimWrapperConstructor',
    paramwise_cfg=dict(layer_decay_rate=0.5))
train_cfg = dict(type='IterBasedTrainLoop', max_iters=2)
default_hooks = dict(logger=dict(type='LoggerHook', interval=1))
'''


@pytest.mark.parametrize('scope, host', [('mmpretrain', 'mmpretrain'), ('mmengine', 'mmpretrain'), ('mmseg', 'mmseg')])
def test_the_backbone_works_in_the_host_s_own_tools(scope, host, demo, tmp_path):
    """No custom_imports, another working directory, the train.py inside the host's wheel."""
    text = SEGMENTOR if scope == 'mmseg' else CLASSIFIER
    backbone = BACKBONE.format("causal=False, out_type='featmap'" if scope == 'mmseg' else "out_type='avg_featmap'")
    (tmp_path / 'foreign.py').write_text(text.format(scope=scope, backbone=backbone, shapes=demo[1]))
    tool = Path(find_spec(host).origin).parent / '.mim/tools/train.py'
    forks.run(tmp_path, tool, 'foreign.py', '--work-dir', 'run', imported='hosts')
    file, = (tmp_path / 'run').glob('*/vis_data/scalars.json')
    records = [json.loads(line) for line in file.read_text().splitlines()]
    assert len(records) == 2 and all(record['loss'] > 0 for record in records)
    assert list((tmp_path / 'run').glob('*.pth'))
