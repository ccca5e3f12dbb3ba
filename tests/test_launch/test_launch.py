import argparse
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from torch.nn.parallel import DistributedDataParallel

from nepa_mm.errors import CheckpointError, ConfigError
from nepa_mm.launch.launch import (
    check_checkpoint,
    check_frozen,
    check_numbers,
    end_process_group,
    load_config,
    naming_checkpoints,
    naming_keys,
)
from nepa_mm.launch.work_dir import check_work_dir
from tiny import OF_24


def test_a_work_dir_with_another_run_is_refused_unless_it_is_resumed(tmp_path):
    cfg = Config(dict(work_dir=str(tmp_path)))
    check_work_dir(cfg)
    (tmp_path / '20260101_000000/vis_data').mkdir(parents=True)
    (tmp_path / '20260101_000000/vis_data/scalars.json').touch()
    with pytest.raises(ConfigError, match=r'holds another run \(20260101_000000\)'):
        check_work_dir(cfg)
    (tmp_path / 'epoch_3.pth').touch()
    with pytest.raises(ConfigError, match=r'holds another run \(epoch_3.pth\)'):
        check_work_dir(cfg)
    cfg.resume = True
    check_work_dir(cfg)


def test_a_missing_checkpoint_names_key_and_path(tmp_path):
    key = 'model.backbone.init_cfg.checkpoint'
    cfg = Config(dict(model=dict(backbone=dict(init_cfg=dict(checkpoint=str(tmp_path / 'no.pth'))))))
    with pytest.raises(CheckpointError, match=rf"/no.pth': there is no such checkpoint \| {key} \| .*--cfg-options {key}=PATH"):
        check_checkpoint(cfg, key)
    cfg.model.backbone.init_cfg.checkpoint = f'raw:{tmp_path}/no.pth'
    with pytest.raises(CheckpointError, match=r"'raw:.*/no.pth': there is no such checkpoint.* \| .*checkpoint"):
        check_checkpoint(cfg, key)
    (tmp_path / 'no.pth').touch()
    check_checkpoint(cfg, key)
    for fine in (dict(), dict(model=dict(backbone=dict(init_cfg=None))), dict(model=dict(backbone=dict(init_cfg=[]))), dict(load_from='https://host/a.pth')):
        check_checkpoint(Config(fine), key)
        check_checkpoint(Config(fine), 'load_from')


def test_a_frozen_embedding_must_come_from_a_checkpoint():
    backbone = dict(type='nepa_mm.NEPAViT', frozen_stages=0)
    with pytest.raises(ConfigError, match=r'0 freezes a patch embedding that no checkpoint gives \| '
                                          r'model.backbone.frozen_stages'):
        check_frozen(Config(dict(model=dict(backbone=dict(backbone, init_cfg=None)))))
    for fine in (dict(model=dict(backbone=dict(backbone, init_cfg=dict(type='Pretrained', checkpoint='a.pth')))),
                 dict(model=dict(backbone=backbone), load_from='a.pth'), dict(model=dict(backbone=backbone), resume=True),
                 dict(model=dict(backbone=dict(backbone, frozen_stages=-1))),
                 dict(model=dict(backbone=dict(backbone, type='ResNet')))):
        check_frozen(Config(fine))


def test_numbers_of_the_model_that_contradict_each_other():
    for rate in (1.0, -0.1, 'x'):
        with pytest.raises(ConfigError, match=rf'^{rate!r} is not in \[0, 1\).* \| model.backbone.drop_path_rate'):
            check_numbers(Config(dict(model=dict(backbone=dict(type='mmpretrain.BEiTViT', drop_path_rate=rate)))))
    model = dict(head=dict(num_classes=10), data_preprocessor=dict(num_classes=1000))
    with pytest.raises(ConfigError, match=r'10 differs from model.data_preprocessor.num_classes=1000 \| model.head.num_classes'):
        check_numbers(Config(dict(model=model)))
    check_numbers(Config(dict(model=dict(head=dict(num_classes=10), backbone=dict(drop_path_rate=0.9)))))


@pytest.mark.parametrize('what, where, expected', [
    ('1.0 is too much', 'rate', 'model.backbone.rate'),
    ('1.0: too much', 'rate', 'model.backbone.rate'),
    ('1.05 is too much', 'rate', 'rate'),  # a default, or another value: not in the config
    ('7 is not', 'warmup', 'param_scheduler.1.warmup'),
    ("'x' is unknown", 'kind', 'kind'),
    ('1.0 is too much', 'model.backbone.rate', 'model.backbone.rate'),
    ('nothing to name', '--out', '--out'),
    ('1.0 is too much', 'Mix.rate', 'model.augments.0.rate'),  # that of the class, not another one of this value
    ('1.0 is too much', 'Other.rate', 'Other.rate'),
])
def test_an_error_about_an_argument_gets_its_dotted_key(what, where, expected):
    model = dict(type='A', backbone=dict(rate=1.0), augments=[dict(type='nepa_mm.Mix', rate=1.0)])
    cfg = Config(dict(rate=2.0, model=model, param_scheduler=[dict(), dict(warmup=7)]))
    with pytest.raises(ConfigError) as error, naming_keys(cfg):
        raise ConfigError(what, where, 'lower it')
    assert str(error.value) == f'{what} | {expected} | lower it'


@pytest.mark.skipif(OF_24, reason='torch 2.4 gives threads of gloo no name')
@pytest.mark.skipif(not Path('/proc/self/task').is_dir(), reason='threads are listed by Linux alone')
def test_no_thread_of_gloo_outlives_its_group_though_a_cycle_holds_the_model(tmp_path):

    def threads():
        return {(task / 'comm').read_text().strip() for task in Path('/proc/self/task').iterdir()}

    torch.distributed.init_process_group('gloo', init_method=f'file://{tmp_path}/store', rank=0, world_size=1)
    runner = dict(model=DistributedDataParallel(torch.nn.Linear(1, 1)))
    runner['hook'] = runner
    del runner
    assert any('gloo' in name for name in threads())
    end_process_group()
    assert not any('gloo' in name for name in threads())


def test_load_config(tmp_path):
    path = tmp_path / 'a_config.py'
    path.write_text("default_scope = 'mmpretrain'\nx = dict(y=1)\nresume = False\ntrain_dataloader = dict(batch_size=1)\n")
    args = argparse.Namespace(config=str(path), cfg_options={'resume': True}, launcher='none', work_dir=None, local_rank=0)
    cfg = load_config(args)
    assert cfg.x.y == 1 and cfg.resume and cfg.work_dir == 'work_dirs/a_config'
    assert cfg.train_dataloader.collate_fn == dict(type='default_collate')
    args.config = 'no.py'
    with pytest.raises(ConfigError, match=r'no such config file \| no.py'):
        load_config(args)


def test_an_error_about_a_checkpoint_gets_its_place():
    with pytest.raises(CheckpointError, match=r"^lacks a weight \| its weights \(load_from='a.pth'\) \| "), naming_checkpoints(
            Config(dict(model=dict(), load_from='a.pth'))):
        raise CheckpointError('lacks a weight', 'its weights', 'mend it')
    with pytest.raises(CheckpointError, match=r'^lacks a weight \| its weights \| '
                                              r''), naming_checkpoints(Config(dict(load_from=None))):
        raise CheckpointError('lacks a weight', 'its weights', 'mend it')


@pytest.mark.parametrize('wrapper', ['', 'module'])
def test_an_error_about_classes_of_a_checkpoint_gets_the_keys_of_the_heads(wrapper):
    model = dict(decode_head=dict(num_classes=19), auxiliary_head=[dict(num_classes=7), dict(num_classes=19)])
    cfg = Config(dict(model=dict(module=model) if wrapper else model, load_from='a.pth'))
    message = ('decode_head.conv_seg.weight at random for 19 classes (150 there), decode_head.conv_seg.bias as zeros for 19 '
               'classes (150 there), auxiliary_head.1.conv_seg.bias at random for 19 classes (150 there)')
    keys = 'model.decode_head.num_classes=19, model.auxiliary_head.1.num_classes=19'
    with pytest.raises(CheckpointError) as error, naming_checkpoints(cfg):
        raise CheckpointError(message, 'b/a.pth', 'mend it')
    assert error.value.what == message and error.value.where == f'b/a.pth (load_from, {keys})'
    cfg.load_from = None
    with pytest.raises(CheckpointError) as error, naming_checkpoints(cfg):
        raise CheckpointError(message, 'a.pth', 'mend it')
    assert error.value.what == message and error.value.where == f'a.pth ({keys})'
