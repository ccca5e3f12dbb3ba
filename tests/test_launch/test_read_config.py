"""Configs that cannot be read, and keys in them that nothing reads, are refused in one line."""
import inspect
import re

import pytest
from mmengine.config import Config
from mmengine.registry import RUNNERS
from mmpretrain.registry import MODELS

from nepa_mm.errors import ConfigError
from nepa_mm.launch.config_keys import MMENGINE_S_ARGUMENTS, arguments_of_runner
from nepa_mm.launch.naming_errors import naming
from nepa_mm.launch.read_config import read_config
from tiny import ROOT

RUNTIME = ROOT / 'configs/_base_/default_runtime.py'


def refused(path, options=None):
    """What the error says, in three parts."""
    with pytest.raises(ConfigError) as error:
        read_config(str(path), options)
    return error.value.what, error.value.where, error.value.remedy


@pytest.mark.parametrize('name, content, said', [
    ('a.py', 'x = (', 'SyntaxError: .*never closed'), ('b.py', '_base_ = "nowhere.py"', 'FileNotFoundError: .*nowhere.py'),
    ('c.py', 'x = 1 / 0', 'ZeroDivisionError: division by zero'), ('d.yaml', 'a: [1', 'ParserError: '),
    ('e.py', 'custom_imports = dict(imports="not_there")', 'ImportError: .*not_there'), ('f.json', '{', 'JSONDecodeError: '),
    ('g.txt', 'x', 'OSError: Only py')])
def test_what_cannot_be_read_is_named(name, content, said, tmp_path):
    (tmp_path / name).write_text(content)
    what, where, _ = refused(tmp_path / name)
    assert re.match(f'it cannot be read: {said}', what) and where == str(tmp_path / name)


@pytest.mark.parametrize('options, key, nearest', [
    ({'randomnes.seed': 1}, 'randomnes', 'randomness'),
    ({'randomness.seeed': 1}, 'randomness.seeed', 'seed'),
    ({'env_cfg.cudnn_benchmar': True}, 'env_cfg.cudnn_benchmar', 'cudnn_benchmark'),
    ({'env_cfg.mp_cfg.start_method': 'spawn'}, 'env_cfg.mp_cfg.start_method', 'mp_start_method'),
    ({'auto_scale_lr.base_batchsize': 8}, 'auto_scale_lr.base_batchsize', 'base_batch_size'),
    ({'optim_wrapper.clip_grad.max_nrom': 1}, 'optim_wrapper.clip_grad.max_nrom', 'max_norm'),
    ({'default_hooks.checkpont.interval': 1}, 'default_hooks.checkpont', 'checkpoint'),
    ({'default_hooks.stop_on_divergance.max_grad_norm': 1}, 'default_hooks.stop_on_divergance', 'stop_on_divergence')])
def test_keys_that_nothing_reads_are_named_with_the_nearest(options, key, nearest):
    _, where, remedy = refused(RUNTIME, options)
    assert (where, remedy) == (key, f'did you mean {nearest!r}?')


def test_a_base_of_another_package_collates(tmp_path):
    """mmengine hands the scope of such a base to the function (findings/mmengine_base_scope_collate.sh)."""
    (tmp_path / 'config.py').write_text("_base_ = 'mmpretrain::mae/mae_vit-base-p16_8xb512-amp-coslr-300e_in1k.py'")
    loader = read_config(str(tmp_path / 'config.py')).train_dataloader
    assert loader.collate_fn == dict(type='default_collate') and loader.dataset['_scope_'] == 'mmpretrain'


def test_options_that_do_not_fit_are_named():
    assert refused(RUNTIME, {'vis_backends.3.type': 1})[1] == refused(RUNTIME, {'log_level.x': 1})[1] == '--cfg-options'
    assert refused(RUNTIME, {'model': 5})[:2] == ('5 is no dict', 'model')
    assert refused(RUNTIME, {'vis_backends': []})[:2] == ("nothing reads 'vis_backends'", '--cfg-options')  # used by then


@pytest.mark.parametrize('name', MMENGINE_S_ARGUMENTS)
def test_arguments_of_runners_are_those_that_they_have(name):
    assert arguments_of_runner(name) == set(inspect.signature(RUNNERS.get(name).__init__).parameters)


@pytest.mark.parametrize('head, where, remedy', [
    (dict(type='LinearClsHead', num_classes=2, in_channels=4, loss=dict(loss_weight=1.)), 'model.head.loss', 'add it, or '),
    (dict(type='LinearClsHead', num_classes=2, in_channels=4, init_cfg=5, tpye=1), 'model.head.tpye', 'choose from '),
    (dict(type='LinearClsHed'), 'model.head.type', "did you mean 'LinearClsHead'?"),
    (dict(type='mmpretrian.LinearClsHead'), 'model.head.type', "did you mean 'mmpretrain.LinearClsHead'?")])
def test_what_cannot_be_built_is_named(head, where, remedy):
    cfg = Config(dict(model=dict(head=head)))
    with pytest.raises(ConfigError) as error, naming(cfg):
        MODELS.build(cfg.model.head)
    assert error.value.where == where and error.value.remedy.startswith(remedy), error.value
