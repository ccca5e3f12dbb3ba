"""mmengine's pure-Python configs: classes as types, bases as imports. All reads them as configs of names."""
import argparse
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
from forks import run
from mmengine.config import Config
from PIL import Image

import nepa_mm
from nepa_mm.checkpoints.record import config_from_text
from nepa_mm.launch.build_runner import build_runner
from nepa_mm.launch.read_config import load_config, read_config
from tiny import ROOT

CLASSIFY = '''
from mmcv.transforms import CenterCrop
from mmengine.dataset import DefaultSampler, default_collate
from mmengine.model import PretrainedInit
from mmengine.runner import EpochBasedTrainLoop
from mmpretrain.datasets import CustomDataset, PackInputs
from mmpretrain.evaluation import Accuracy
from mmpretrain.models import CrossEntropyLoss, ImageClassifier, LinearClsHead
from torch.nn import BatchNorm2d
from torch.optim import AdamW
from torch.optim.lr_scheduler import StepLR

from nepa_mm.datasets import LoadImage
from nepa_mm.engine import LayerDecayOptimWrapperConstructor, ReliableRunner
from nepa_mm import NEPAViT

default_scope = 'mmpretrain'
runner_type = ReliableRunner
model = dict(
    type=ImageClassifier, data_preprocessor=dict(mean=[127.5] * 3, std=[127.5] * 3, to_rgb=True, num_classes=2),
    backbone=dict(type=NEPAViT, arch=dict(embed_dims=16, num_layers=2, num_heads=2, feedforward_channels=32), img_size=16,
                  patch_size=8, causal=False, out_type='avg_featmap'),
    head=dict(type=LinearClsHead, num_classes=2, in_channels=16, loss=dict(type=CrossEntropyLoss)))
pipeline = [dict(type=LoadImage), dict(type=CenterCrop, crop_size=16), dict(type=PackInputs)]
train_dataloader = dict(
    batch_size=2, num_workers=0, sampler=dict(type=DefaultSampler, shuffle=True), collate_fn=dict(type=default_collate),
    dataset=dict(type=CustomDataset, data_root='data', pipeline=pipeline))
test_dataloader = dict(train_dataloader, sampler=dict(type=DefaultSampler, shuffle=False))
test_evaluator = dict(type=Accuracy, topk=1)
test_cfg = dict()
optim_wrapper = dict(optimizer=dict(type=AdamW, lr=1e-3), constructor=LayerDecayOptimWrapperConstructor)
train_cfg = dict(type=EpochBasedTrainLoop, max_epochs=1)
'''
BASE = '''
from mmengine.dataset import InfiniteSampler
from mmseg.datasets import BaseSegDataset, PackSegInputs
from mmcv.transforms import LoadImageFromFile
from nepa_mm.datasets import LoadSegAnnotations

train_dataloader = dict(
    batch_size=2, num_workers=0, sampler=dict(type=InfiniteSampler, shuffle=True),
    dataset=dict(type=BaseSegDataset, data_root='road', img_suffix='.png', seg_map_suffix='.png',
                 metainfo=dict(classes=['ground', 'road'], palette=[[0, 0, 0], [255, 0, 0]]),
                 data_prefix=dict(img_path='img', seg_map_path='ann'),
                 pipeline=[dict(type=LoadImageFromFile), dict(type=LoadSegAnnotations), dict(type=PackSegInputs)]))
'''
SEGMENT = '''
from mmengine.config import read_base
from mmengine.hooks import CheckpointHook, EMAHook
from mmengine.runner import IterBasedTrainLoop
from mmseg.models import CrossEntropyLoss, EncoderDecoder, FCNHead, SegDataPreProcessor
from torch.nn import BatchNorm2d
from torch.optim import SGD
from nepa_mm.models import NEPAViT

with read_base():
    from .base import *

model = dict(
    type=EncoderDecoder, data_preprocessor=dict(type=SegDataPreProcessor, size=(16, 16), pad_val=0, seg_pad_val=255),
    backbone=dict(type=NEPAViT, arch=dict(embed_dims=16, num_layers=2, num_heads=2, feedforward_channels=32), img_size=16,
                  patch_size=8, causal=False, out_type='featmap', out_indices=[1]),
    decode_head=dict(type=FCNHead, in_channels=16, channels=8, num_convs=1, num_classes=2, norm_cfg=dict(type=BatchNorm2d),
                     loss_decode=dict(type=CrossEntropyLoss)), test_cfg=dict(mode='whole'))
optim_wrapper = dict(optimizer=dict(type=SGD, lr=1e-3))
train_cfg = dict(type=IterBasedTrainLoop, max_iters=1)
train_dataloader.update(batch_size=1)
custom_hooks = [dict(type=EMAHook)]
default_hooks = dict(checkpoint=dict(type=CheckpointHook, by_epoch=False, interval=1))
'''


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp('pure')
    for name, text in dict(classify=CLASSIFY, base=BASE, segment=SEGMENT).items():
        (folder / f'{name}.py').write_text(text)
    for i, name in enumerate(('data/a', 'data/b', 'road/img', 'road/ann')):
        (folder / name).mkdir(parents=True)
        for j in range(2):
            image = Image.new('L' if i == 3 else 'RGB', (16, 16), 1 if i == 3 else (100 * i, 50, 50))
            image.save(folder / name / f'{j}.png')
    return folder


def test_types_have_the_names_of_ordinary_configs(folder):
    cfg = read_config(str(folder / 'classify.py'), {'train_cfg.max_epochs': 2})
    assert (cfg.default_scope, cfg.runner_type, cfg.train_cfg.max_epochs) == ('mmpretrain', 'nepa_mm.ReliableRunner', 2)
    model = cfg.model
    assert (model.type, model.backbone.type, model.head.type) == ('ImageClassifier', 'nepa_mm.NEPAViT', 'LinearClsHead')
    assert [step.type for step in cfg.pipeline] == ['nepa_mm.LoadImage', 'CenterCrop', 'PackInputs']
    assert cfg.optim_wrapper.constructor == 'nepa_mm.LayerDecayOptimWrapperConstructor'
    assert cfg.train_dataloader.collate_fn.type == 'default_collate' and 'AdamW' not in cfg
    segment = read_config(str(folder / 'segment.py'))
    assert (segment.default_scope, segment.model.type) == ('mmseg', 'EncoderDecoder')
    assert segment.train_dataloader.batch_size == 1 and segment.model.decode_head.norm_cfg.type in ('BN', 'BN2d')


def test_what_no_registry_knows_and_what_is_no_type_stays(tmp_path):
    path = tmp_path / 'config.py'
    path.write_text('from torch.nn import GELU, LayerNorm, Transformer\ndefault_scope = None\n'
                    'part = dict(type=Transformer, norm_layer=LayerNorm, inner=[dict(type=GELU)])\n')
    part = read_config(str(path)).part
    assert part.type == 'torch.nn.modules.transformer.Transformer' and part.norm_layer is torch.nn.LayerNorm
    assert part.inner[0].type == 'GELU'


@pytest.mark.parametrize('name', ['classify', 'segment'])
def test_the_text_in_a_checkpoint_of_the_hosts_tools_and_a_dumped_config_say_the_same(name, folder, tmp_path):
    ours, theirs = read_config(str(folder / f'{name}.py')), Config.fromfile(folder / f'{name}.py')
    text = theirs.pretty_text
    said = config_from_text(text)
    assert "type='mm" in text and (said['default_scope'], said['model']) == (ours.default_scope, ours.model.to_dict())
    theirs.dump(tmp_path / 'dumped.py')
    assert read_config(str(tmp_path / 'dumped.py')).to_dict() == ours.to_dict()


def test_a_path_in_a_checkpoint_imports_nothing(tmp_path, monkeypatch):
    (tmp_path / 'nepa_mm_evil').mkdir()
    (tmp_path / 'nepa_mm_evil/__init__.py').write_text('1 / 0')
    monkeypatch.syspath_prepend(tmp_path)
    text = "model = dict(type='nepa_mm_evil.models.A', head=dict(type='mmseg.not_there.B'), neck=dict(type='nepa_mm.evil.C'))"
    model = config_from_text(text)['model']
    assert (model['type'], model['head']['type'], model['neck']['type']) == ('nepa_mm_evil.models.A', 'B', 'nepa_mm.C')


def test_a_segmentation_trains_and_its_checkpoint_is_a_model(folder, monkeypatch):
    monkeypatch.chdir(folder)
    monkeypatch.setenv('LOCAL_RANK', '0')
    args = argparse.Namespace(config='segment.py', cfg_options=None, launcher='none', work_dir='ours', local_rank=0)
    build_runner(load_config(args)).train()
    model = nepa_mm.get_model('ours/iter_1.pth')
    assert type(model).__name__ == 'EncoderDecoder' and model.decode_head.num_classes == 2


def test_a_checkpoint_that_the_hosts_tool_trained_is_tested_and_a_model(folder):
    tool = Path(find_spec('mmpretrain').origin).parent / '.mim/tools/train.py'
    if not tool.is_file():
        pytest.skip('mmpretrain is installed without its tools')
    run(folder, tool, 'classify.py', '--work-dir', 'host', '--no-persistent-workers')
    said = run(folder, ROOT / 'tools/test.py', 'classify.py', 'host/epoch_1.pth', '--work-dir', 'tested')
    assert 'accuracy/top1' in said
    logits = nepa_mm.get_model(str(folder / 'host/epoch_1.pth'))(torch.zeros(1, 3, 16, 16))
    assert logits.shape == (1, 2)
