
import pytest
import torch

from nepa_mm.checkpoints import backbone_kwargs, released_state_dict
from nepa_mm.checkpoints.fitting.released_keys import mm_parts, stacked
from nepa_mm.errors import CheckpointError
from nepa_mm.models import NEPAViT

CONFIG = dict(
    model_type='vit_nepa', hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=24, image_size=28,
    patch_size=7, is_causal=True, rope_theta=100., pos_embed_rescale=2., qk_norm=True, qk_norm_affine=False, qk_norm_bias=False,
    qkv_bias=True, layerscale_value=1e-5, hidden_act='gelu', use_gated_mlp=False, layer_norm_eps=1e-12)


def mm_state_dict(released):
    return {name: stacked(released, parts) for name, parts in mm_parts(released).items()}


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


def test_unknown_parameters_are_refused():
    with pytest.raises(CheckpointError, match=r"1 parameters have no place in a NEPA model: \['vit.blocks.0.norm1.weight'\]"):
        mm_state_dict({'vit.blocks.0.norm1.weight': torch.zeros(1)})
    with pytest.raises(CheckpointError, match=r"have no place .*\['backbone.pos_embed'\]"):
        released_state_dict({'backbone.pos_embed': torch.zeros(1)})
