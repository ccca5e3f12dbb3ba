import numpy as np
import pytest
from mmengine.config import Config
from mmengine.dataset import BaseDataset
from mmengine.registry import DATASETS

from nepa_mm.errors import CheckpointError, ConfigError, DataError
from nepa_mm.launch.naming_errors import naming


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
    with pytest.raises(ConfigError) as error, naming(cfg):
        raise ConfigError(what, where, 'lower it')
    assert str(error.value) == f'{what} | {expected} | lower it'


def test_an_error_about_a_checkpoint_gets_its_place():
    with pytest.raises(CheckpointError, match=r"^lacks a weight \| its weights \(load_from='a.pth'\) \| "), naming(
            Config(dict(model=dict(), load_from='a.pth'))):
        raise CheckpointError('lacks a weight', 'its weights', 'mend it')
    with pytest.raises(CheckpointError, match=r'^lacks a weight \| its weights \| '
                                              r''), naming(Config(dict(load_from=None))):
        raise CheckpointError('lacks a weight', 'its weights', 'mend it')


@pytest.mark.parametrize('wrapper', ['', 'module'])
def test_an_error_about_classes_of_a_checkpoint_gets_the_keys_of_the_heads(wrapper):
    model = dict(decode_head=dict(num_classes=19), auxiliary_head=[dict(num_classes=7), dict(num_classes=19)])
    cfg = Config(dict(model=dict(module=model) if wrapper else model, load_from='a.pth'))
    message = ('decode_head.conv_seg.weight at random for 19 classes (150 there), decode_head.conv_seg.bias as zeros for 19 '
               'classes (150 there), auxiliary_head.1.conv_seg.bias at random for 19 classes (150 there)')
    keys = 'model.decode_head.num_classes=19, model.auxiliary_head.1.num_classes=19'
    with pytest.raises(CheckpointError) as error, naming(cfg):
        raise CheckpointError(message, 'b/a.pth', 'mend it')
    assert error.value.what == message and error.value.where == f'b/a.pth (load_from, {keys})'
    cfg.load_from = None
    with pytest.raises(CheckpointError) as error, naming(cfg):
        raise CheckpointError(message, 'a.pth', 'mend it')
    assert error.value.what == message and error.value.where == f'a.pth ({keys})'


class Nothing(BaseDataset):
    """A data set that finds no file."""

    def load_data_list(self) -> list[dict]:
        return []


@pytest.mark.parametrize('lazy', [False, True])
def test_a_data_set_that_finds_no_file(lazy, monkeypatch):
    monkeypatch.setitem(DATASETS._module_dict, 'Nothing', Nothing)
    part = dict(type='Nothing', data_root='photos', ann_file='list.txt', lazy_init=lazy)
    cfg = Config(dict(train_dataloader=dict(dataset=dict(type='ConcatDataset', datasets=[dict(part, data_root='a'), part])),
                      val_dataloader=dict(dataset=part)))
    with pytest.raises(DataError) as error, naming(cfg, ('train', )):
        DATASETS.build(part).full_init()
    assert error.value.line == (
        "'Nothing' finds no file (data_prefix={'img_path': 'photos/'}, ann_file='photos/list.txt') | "
        'train_dataloader.dataset.datasets.1 | look at these, data_root, indices and filter_cfg')
    with pytest.raises(ValueError, match='need at least one array'), naming(cfg):
        np.concatenate([])  # of something else
