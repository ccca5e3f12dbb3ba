import re

import pytest
import torch

from nepa_mm import NEPAViT
from nepa_mm.errors import CheckpointError
from tiny import TINY, randomize

PAPER = dict(with_cls_token=False, use_abs_pos_embed=True)


def tiny(**kwargs):
    return randomize(NEPAViT(**{**TINY, **kwargs}))


def refuse(model, state, message):
    with pytest.raises(CheckpointError, match=message):
        model.load_state_dict(state, strict=False)


def test_foreign_and_incomplete_checkpoints_are_refused():
    foreign = {'vit.blocks.0.weight': torch.zeros(1)}
    refuse(tiny(), foreign, r"lacks 47 of 47 weights of NEPAViT.*it has \['vit.blocks.0.weight'\]")
    state = tiny().state_dict()
    del state['patch_embed.weight']
    refuse(tiny(), state, r"lacks 1 of 47 weights of NEPAViT, such as \['patch_embed.weight'\]")
    refuse(tiny(gated_mlp=True), tiny().state_dict(), 'lacks 12 of')


def test_another_shape_is_refused():
    shapes = re.escape('patch_embed.weight is [16, 3, 4, 4] in the checkpoint and [16, 3, 7, 7] here')
    refuse(tiny(), tiny(patch_size=4).state_dict(), shapes)
    wide = dict(embed_dims=32, num_layers=3, num_heads=2, feedforward_channels=32)
    refuse(tiny(), tiny(arch=wide).state_dict(), 'check arch, patch_size')


def test_norms_of_fine_tuning_may_be_missing():
    model = NEPAViT(**TINY, qk_norm='affine_bias', out_type='avg_featmap')
    result = model.load_state_dict(tiny().state_dict(), strict=False)
    assert set(re.sub(r'layers\.\d', 'layers.N', name) for name in result.missing_keys) == {
        'fc_norm.weight', 'fc_norm.bias', *(f'layers.N.attn.{x}_norm.{kind}' for x in 'qk' for kind in ('weight', 'bias'))}


def test_position_embedding_is_resized():
    small, large = tiny(**PAPER), tiny(**PAPER, img_size=56)
    small.pos_embed.data.fill_(3.)
    large.load_state_dict(small.state_dict())
    torch.testing.assert_close(large.pos_embed.data, torch.full((1, 64, 16), 3.), atol=1e-5, rtol=0)
    state = small.state_dict()
    state['pos_embed'] = torch.zeros(1, 17, 16)
    refuse(small, state, '17 positions, not a square grid, and cannot be resized to 4x4 patches')
