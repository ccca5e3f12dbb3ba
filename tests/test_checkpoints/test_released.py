import json

import pytest
import torch
from safetensors.torch import save_file

from nepa_mm.checkpoints import backbone_kwargs, mm_state_dict, read_released, released_state_dict
from nepa_mm.errors import CheckpointError
from nepa_mm.models import NEPAViT

CONFIG = dict(
    model_type='vit_nepa', hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=24, image_size=28,
    patch_size=7, is_causal=True, rope_theta=100., pos_embed_rescale=2., qk_norm=True, qk_norm_affine=False, qk_norm_bias=False,
    qkv_bias=True, layerscale_value=1e-5, hidden_act='gelu', use_gated_mlp=False, layer_norm_eps=1e-12)


@pytest.mark.parametrize('config', [
    dict(), dict(use_gated_mlp=True, hidden_act='silu'), dict(qk_norm_affine=True), dict(qk_norm=False, layerscale_value=None)])
def test_there_and_back_again(config):
    model = NEPAViT(**backbone_kwargs({**CONFIG, **config}))
    ours = {f'backbone.{name}': value for name, value in model.state_dict().items()}
    released = released_state_dict({**ours, 'head.fc.weight': torch.randn(3, 16)})
    back = mm_state_dict(released)
    assert back.pop('head.fc.weight').shape == (3, 16)
    assert back.keys() == ours.keys() and all(torch.equal(back[name], ours[name]) for name in ours)


def test_query_key_and_value_are_fused_in_this_order():
    name = 'vit_nepa.encoder.layer.11.attention.attention.{}.bias'
    fused = mm_state_dict({name.format(part): torch.full((2, ), i) for i, part in enumerate(['query', 'key', 'value'])})
    assert fused['backbone.layers.11.attn.qkv.bias'].tolist() == [0, 0, 1, 1, 2, 2]


def test_backbone_kwargs_follow_the_config():
    kwargs = backbone_kwargs({**CONFIG, 'hidden_act': 'silu', 'use_gated_mlp': True, 'qk_norm_affine': True, 'is_causal': False})
    assert (kwargs['act'], kwargs['gated_mlp'], kwargs['qk_norm'], kwargs['causal']) == ('silu', True, 'affine', False)
    assert kwargs['rope'] == dict(theta=100., rescale=2., jitter=None, shift=None)
    assert backbone_kwargs({**CONFIG, 'qk_norm': False})['qk_norm'] is None


def test_unknown_parameters_are_refused():
    with pytest.raises(CheckpointError, match="'vit.blocks.0.norm1.weight' is unknown"):
        mm_state_dict({'vit.blocks.0.norm1.weight': torch.zeros(1)})
    with pytest.raises(CheckpointError, match="'backbone.pos_embed' is unknown"):
        released_state_dict({'backbone.pos_embed': torch.zeros(1)})


def test_unsupported_settings_are_refused():
    with pytest.raises(CheckpointError, match='hidden_dropout_prob=0.1 is not supported'):
        backbone_kwargs({**CONFIG, 'hidden_dropout_prob': 0.1})


def test_read_released(tmp_path):
    with pytest.raises(CheckpointError, match='has no config.json'):
        read_released(str(tmp_path))
    (tmp_path / 'config.json').write_text(json.dumps({**CONFIG, 'model_type': 'vit'}))
    with pytest.raises(CheckpointError, match='has no model.safetensors'):
        read_released(str(tmp_path))
    save_file({'a': torch.ones(1)}, tmp_path / 'copy.safetensors')
    with pytest.raises(CheckpointError, match="model_type='vit' in config.json is not 'vit_nepa'"):
        read_released(str(tmp_path))
    (tmp_path / 'config.json').write_text(json.dumps(CONFIG))
    config, weights = read_released(str(tmp_path))
    assert config == CONFIG and list(weights) == ['a']
    save_file({'b': torch.ones(1)}, tmp_path / 'another.safetensors')
    with pytest.raises(CheckpointError, match='has no model.safetensors'):  # no guess between two
        read_released(str(tmp_path))


def test_hub_out_of_reach_is_one_line(monkeypatch):
    import huggingface_hub

    def refuse(*_, **__):
        raise ConnectionError('no route to host\nmore')

    monkeypatch.setattr(huggingface_hub, 'snapshot_download', refuse)
    with pytest.raises(CheckpointError, match=r'hf:Org/name is no local folder, .* \(no route to host\)') as error:
        read_released('Org/name')
    assert '\n' not in str(error.value)
