"""Arithmetic of memory in pieces."""
import pytest
from mmengine.config import Config
from torch import nn

from nepa_mm.analysis.cost.ways_to_share import Way, blocks_of, memory_of, way_of, ways
from nepa_mm.errors import ConfigError

MODEL = nn.Sequential(nn.ModuleList(nn.Linear(10, 10, bias=False) for _ in range(4)), nn.Linear(10, 5, bias=False))  # 400 + 50
PARTS = {'parameters': 1800, 'gradients': 200, 'optimizer state': 3600, 'activations': 5000}


def test_what_there_is():
    assert [way.name for way in ways(1)] == ['DDP']
    assert [(way.name, way.pieces) for way in ways(16)] == [
        ('DDP', 1), ('FSDP2, no reshard', 16), ('FSDP2', 16), ('HSDP', 8)]
    assert [way.name for way in ways(12)] == ['DDP', 'FSDP2, no reshard', 'FSDP2']


@pytest.mark.parametrize('wrapper, expected', [
    (None, Way('DDP')), (dict(type='nepa_mm.StaticDistributedDataParallel'), Way('DDP')),
    (dict(type='nepa_mm.FullyShardedDataParallel'), Way('FSDP2', 8)),
    (dict(type='nepa_mm.FullyShardedDataParallel', reshard_after_forward=False), Way('FSDP2, no reshard', 8, False)),
    (dict(type='nepa_mm.FullyShardedDataParallel', replicas=2, param_dtype='bfloat16'), Way('HSDP', 4, width=2))], ids=str)
def test_what_a_config_does(wrapper, expected):
    assert way_of(Config(dict(model_wrapper_cfg=wrapper)), 8) == expected


@pytest.mark.parametrize('gpus', [1, 3])
def test_groups_that_cannot_be_made_are_refused(gpus):
    with pytest.raises(ConfigError, match=rf'^2 groups cannot be made of {gpus} GPUs \| model_wrapper_cfg.replicas \| '):
        way_of(Config(dict(model_wrapper_cfg=dict(type='nepa_mm.FullyShardedDataParallel', replicas=2))), gpus)


def test_blocks():
    assert blocks_of(MODEL) == list(MODEL) and blocks_of(nn.Linear(1, 1)) == []  # the list of both parts is the larger one
    assert blocks_of(MODEL[0]) == list(MODEL[0])
    assert blocks_of(MODEL, ['Linear']) == [*MODEL[0], MODEL[1]]


def test_parts():
    blocks = list(MODEL[0])
    ddp = memory_of(Way('DDP'), PARTS, MODEL, blocks, averages=1)
    assert ddp == {'parameters': 1800, 'gradients': 1800, 'optimizer state': 3600, 'activations': 5000, 'average': 1800,
                   'gradients to exchange': 1800, 'peak': 1800 + 200 + 3600 + 5000 + 1800 + 1800}
    fsdp = memory_of(Way('FSDP2', 2), PARTS, MODEL, blocks, averages=1)
    assert fsdp == {'parameters': 900, 'gradients': 900, 'optimizer state': 1800, 'activations': 5000, 'average': 900,
                    'gathered parameters': 4 * (50 + 2 * 100), 'gradients to exchange': 8 * 100,
                    'peak': 900 + 100 + 1800 + 5000 + 900 + 1000 + 800}
    kept = memory_of(Way('FSDP2, no reshard', 2, reshards=False), PARTS, MODEL, blocks)
    assert kept['gathered parameters'] == 1800 and kept['parameters'] == 900 and kept['average'] == 0
    assert memory_of(Way('FSDP2', 2, width=2), PARTS, MODEL, blocks)['gathered parameters'] == 500
    added = memory_of(Way('FSDP2', 2), PARTS, MODEL, blocks, averages=1, accumulates=True)
    assert added['gradients'] == 1800 and added['peak'] == fsdp['peak'] - 100 + 1800
    assert 'gradients to exchange' not in memory_of(Way('DDP'), PARTS, MODEL, blocks, own_buckets=True)
