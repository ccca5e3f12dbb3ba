import json

import pytest
import torch
from mmengine.runner import CheckpointLoader
from mmengine.runner.checkpoint import _load_checkpoint_with_prefix
from safetensors.torch import save_file

from nepa_mm import NEPA, NEPAViT
from nepa_mm.checkpoints import path_of, released_state_dict
from nepa_mm.errors import CheckpointError
from tiny import TINY, randomize


@pytest.fixture
def saved(tmp_path):
    """A checkpoint as EMAHook saves it: the average as state_dict, the raw weights in the average's place."""
    raw, average = randomize(NEPAViT(**TINY)).state_dict(), randomize(NEPAViT(**TINY)).state_dict()
    checkpoint = dict(
        state_dict={f'backbone.{k}': v for k, v in average.items()},
        ema_state_dict={'steps': torch.tensor(3), **{f'module.backbone.{k}': v for k, v in raw.items()}})
    torch.save(checkpoint, tmp_path / 'epoch_1.pth')
    return str(tmp_path / 'epoch_1.pth'), raw, average


@pytest.mark.parametrize('kind, index', [('raw:', 1), ('ema:', 2), ('', 2)])
def test_fine_tuning_starts_from_the_weights_asked_for(kind, index, saved):
    backbone = NEPAViT(**TINY, init_cfg=dict(type='Pretrained', checkpoint=kind + saved[0], prefix='backbone.'))
    backbone.init_weights()
    for name, value in backbone.state_dict().items():
        assert torch.equal(value, saved[index][name]), name


def test_one_set_of_weights_is_left(saved):
    for kind in ('raw:', 'ema:'):
        assert set(CheckpointLoader.load_checkpoint(kind + saved[0])) == {'state_dict'}


def test_a_checkpoint_without_an_average(tmp_path):
    path = str(tmp_path / 'a.pth')
    torch.save(dict(state_dict={'backbone.x': torch.ones(1)}), path)
    assert _load_checkpoint_with_prefix('backbone.', 'raw:' + path) == {'x': torch.ones(1)}
    with pytest.raises(CheckpointError, match=r'it holds no averaged weights; .* \| ema:.*a.pth, its weights \| '
                                              r'leave ema: .* out'):
        CheckpointLoader.load_checkpoint('ema:' + path)


def test_path_of():
    assert path_of('raw:a/b.pth') == path_of('ema:a/b.pth') == path_of('a/b.pth') == 'a/b.pth'


def test_fine_tuning_starts_from_a_released_checkpoint(tmp_path):
    pretrained = randomize(NEPA(NEPAViT(**TINY)))
    released = {name: value.contiguous() for name, value in released_state_dict(pretrained.state_dict()).items()}
    save_file(released, tmp_path / 'model.safetensors')
    sizes = dict(hidden_size=16, num_hidden_layers=3, num_attention_heads=2, intermediate_size=32, patch_size=7, qk_norm=True)
    (tmp_path / 'config.json').write_text(json.dumps(dict(model_type='vit_nepa', **sizes)))
    init_cfg = dict(type='Pretrained', checkpoint=f'hf:{tmp_path}', prefix='backbone.')
    tuned = NEPAViT(**TINY, causal=False, out_type='avg_featmap', qk_norm='affine', init_cfg=init_cfg)
    tuned.init_weights()
    loaded = tuned.state_dict()
    for name, value in pretrained.backbone.state_dict().items():
        assert torch.equal(loaded.pop(name), value), name
    assert all('q_norm' in name or 'k_norm' in name or 'fc_norm' in name for name in loaded)  # created, as the identity
    assert all(value.eq(1).all() or value.eq(0).all() for value in loaded.values())

    tuned = NEPAViT(**TINY, init_cfg=dict(init_cfg, checkpoint=f'hf:{tmp_path}/nowhere'))
    with pytest.raises(CheckpointError, match=r"no such folder \| hf:.*/nowhere \(init_cfg={'type'.* \| .* ORG/NAME"):
        tuned.init_weights()
