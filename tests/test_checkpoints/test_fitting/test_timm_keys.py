import argparse
import os
import runpy
import sys

import pytest
import timm.models
import torch
from forks import run
from mmpretrain.models import BEiTViT, VisionTransformer
from safetensors.torch import save_file
from timm.models.beit import Beit

from nepa_mm.checkpoints.fitting.timm_keys import extract_state_dict, resize_relative_positions, timm_to_mmpretrain
from nepa_mm.errors import CheckpointError, UserError
from tiny import ROOT, TINY, randomize

SIZES = dict(img_size=28, patch_size=7, embed_dim=16, depth=3, num_heads=2, mlp_ratio=2)


def published(class_token=True, **kwargs):
    """A ViT as DINO, iBOT and I-JEPA have it: LayerNorm eps 1e-6, a final norm, no head."""
    model = timm.models.VisionTransformer(
        **SIZES, class_token=class_token, global_pool='token' if class_token else 'avg', fc_norm=False, num_classes=0, **kwargs)
    return randomize(model).eval()


def wrapped(state_dict, *prefixes):
    return {''.join(prefixes) + name: value for name, value in state_dict.items()}


HEAD = {'head.mlp.0.weight': torch.zeros(2, 2), 'head.last_layer.weight_g': torch.zeros(2)}
MADE_BY = {
    'dino, evaluation weights': lambda own: own,
    'dino': lambda own: dict(student=wrapped(own | HEAD, 'module.'), teacher=wrapped(own, 'backbone.') | HEAD, epoch=3),
    'dino, wrapped': lambda own: dict(teacher=wrapped(wrapped(own, 'backbone.') | HEAD, 'module.'), args=argparse.Namespace()),
    'ibot': lambda own: dict(state_dict=own | {'masked_embed': torch.zeros(1, 16)}),
    'i-jepa': lambda own: dict(encoder={}, predictor={}, target_encoder=wrapped(own, 'module.'), opt={}, epoch=3),
    'mae': lambda own: dict(model=own | {'mask_token': torch.zeros(1, 1, 8), 'decoder_pred.bias': torch.zeros(4)}),
    'deit': lambda own: dict(model=own | {'head.weight': torch.zeros(2, 16), 'head.bias': torch.zeros(2)}),
    'moco v3': lambda own: dict(state_dict=wrapped(
        wrapped(own | {'head.0.weight': torch.zeros(2)}, 'base_encoder.') | wrapped(own, 'momentum_encoder.')
        | {'predictor.0.weight': torch.zeros(2)}, 'module.')),
}


@pytest.mark.parametrize('method', MADE_BY)
@pytest.mark.parametrize('class_token', [True, False])
def test_features_are_those_of_the_published_model(method, class_token):
    theirs = published(class_token)
    state_dict = timm_to_mmpretrain(extract_state_dict(MADE_BY[method](theirs.state_dict())))
    ours = VisionTransformer(**TINY, out_type='raw', with_cls_token=class_token)
    ours.load_state_dict(state_dict, strict=True)
    images = torch.randn(2, 3, 28, 28)
    expected = theirs.forward_features(images)
    assert expected.shape == (2, 16 + class_token, 16) and len(state_dict) == len(theirs.state_dict())
    torch.testing.assert_close(ours(images)[0], expected, atol=1e-5, rtol=0)


def test_key_chooses_among_encoders():
    teacher, student = published().state_dict(), published().state_dict()
    checkpoint = dict(student=wrapped(student, 'module.backbone.'), teacher=wrapped(teacher, 'backbone.'))
    assert torch.equal(extract_state_dict(checkpoint)['norm.weight'], teacher['norm.weight'])
    assert torch.equal(extract_state_dict(checkpoint, key='student')['norm.weight'], student['norm.weight'])


def test_beit_with_shared_relative_positions_starts_every_block_with_them():
    beit = Beit(**SIZES, use_abs_pos_emb=False, use_shared_rel_pos_bias=True, init_values=0.1, num_classes=0, global_pool='token')
    theirs = randomize(beit).eval()
    checkpoint = dict(model=theirs.state_dict() | {  # as published, with a buffer and the parts of pretraining
        'rel_pos_bias.relative_position_index': theirs.rel_pos_bias.relative_position_index,
        'mask_token': torch.zeros(1, 1, 16), 'lm_head.weight': torch.zeros(4, 16)})
    ours = BEiTViT(**TINY, out_type='raw', final_norm=True)
    result = ours.load_state_dict(timm_to_mmpretrain(extract_state_dict(checkpoint)), strict=False)
    assert not result.unexpected_keys and all(name.endswith('relative_position_index') for name in result.missing_keys)
    images = torch.randn(2, 3, 28, 28)
    torch.testing.assert_close(ours(images)[0], theirs.forward_features(images), atol=1e-5, rtol=0)


@pytest.mark.parametrize('shared', [True, False])
def test_beit_s_relative_positions_are_resized(shared):
    beit = Beit(**SIZES, use_abs_pos_emb=False, use_shared_rel_pos_bias=shared, use_rel_pos_bias=not shared, init_values=0.1)
    attention = beit.rel_pos_bias if shared else beit.blocks[1].attn
    prefix, name = ('', 'rel_pos_bias') if shared else ('blocks.1.', 'layers.1.attn')
    table = attention.relative_position_bias_table.data  # 7 x 7 distances of 4 x 4 patches, and 3 of [CLS]
    table[:49] = torch.arange(-3., 4).repeat_interleave(7)[:, None]  # how far down
    table[49:] = torch.tensor([[10., 10], [11, 11], [12, 12]])
    index = f'{prefix}{"rel_pos_bias" if shared else "attn"}.relative_position_index'
    state_dict = timm_to_mmpretrain(beit.state_dict() | {index: attention.relative_position_index, 'head.bias': table})
    same, resized = resize_relative_positions(state_dict, 4), resize_relative_positions(state_dict, 5)
    assert torch.equal(same[f'{name}.relative_position_bias_table'], table)
    result = resized[f'{name}.relative_position_bias_table']
    assert torch.equal(result[-3:], table[-3:]) and len(result) == 9 * 9 + 3
    rows = result[:-3].view(9, 9, 2)
    torch.testing.assert_close(rows, rows[:, :1].expand(-1, 9, -1), atol=1e-5, rtol=0)
    torch.testing.assert_close(rows[[0, 3, 4, 5, 8], 0, 0], torch.tensor([-3., -1, 0, 1, 3]), atol=1e-4, rtol=0)
    assert (rows.diff(dim=0) > 0.5).all()

    ours = BEiTViT(**{**TINY, 'img_size': 35}, out_type='raw', use_rel_pos_bias=True)
    ours.load_state_dict(resized, strict=False)
    assert torch.equal(ours.layers[1].attn.relative_position_bias_table, result)
    assert ours(torch.randn(1, 3, 35, 35))[0].shape == (1, 26, 16)


def test_errors():
    state_dict = published().state_dict()
    with pytest.raises(CheckpointError, match=r"'teacher' is not in the checkpoint \| key \| choose from \['model'\]"):
        extract_state_dict(dict(model=state_dict), 'teacher')
    with pytest.raises(CheckpointError, match=r"does not map names to tensors \| key \| choose from \['net', 'epoch'\]"):
        extract_state_dict(dict(net=state_dict, epoch=1))
    with pytest.raises(CheckpointError, match="parameter 'blocks.0.ls1.gamma' has no place"):
        timm_to_mmpretrain(published(init_values=1e-5).state_dict())
    with pytest.raises(CheckpointError, match=r'no blocks.\* of a ViT among the 2 parameters'):
        timm_to_mmpretrain(HEAD)
    with pytest.raises(CheckpointError, match=r'32: the checkpoint has no tables of relative positions.* \| grid'):
        resize_relative_positions(timm_to_mmpretrain(state_dict), 32)


class Harmful:

    def __reduce__(self):
        return os.mkdir, ('harm', )


TOOL = ROOT / 'tools/model_converters/vit_timm_to_mm.py'


def test_tool(tmp_path):
    theirs = published()
    torch.save(MADE_BY['dino, wrapped'](theirs.state_dict()), tmp_path / 'dino.pth')
    printed = run(tmp_path, TOOL, 'dino.pth', 'made/vit.pth')
    assert '42 tensors renamed, 2 dropped: head.mlp.0.weight, head.last_layer.weight_g' in printed
    state_dict = torch.load(tmp_path / 'made/vit.pth', weights_only=True)['state_dict']
    ours = VisionTransformer(**TINY)
    ours.load_state_dict({name.removeprefix('backbone.'): value for name, value in state_dict.items()}, strict=True)
    assert torch.equal(ours.ln1.weight, theirs.norm.weight) and all(name.startswith('backbone.') for name in state_dict)


def test_tool_refuses(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.save(dict(model=Harmful()), 'harmful.pth')
    torch.save([1], 'list.pth')
    save_file({'blocks.0.norm1.weight': torch.ones(2), 'head.weight': torch.ones(2)}, 'vit.safetensors')
    tool = runpy.run_path(str(TOOL))
    for src, dst, message in [('gone.pth', 'new.pth', r'^there is no such checkpoint \| gone.pth'),
                              ('vit.safetensors', 'list.pth', r"exists and would be written over \| list.pth"),
                              ('harmful.pth', 'new.pth', r"would run posix.mkdir as it loads.* \| harmful.pth"),
                              ('list.pth', 'new.pth', r"holds a list, not a dict of weights \| list.pth")]:
        monkeypatch.setattr(sys, 'argv', ['tool', src, dst])
        with pytest.raises(UserError, match=message) as error:
            tool['main'](tool['parse_args']())
        assert '\n' not in str(error.value)
    monkeypatch.setattr(sys, 'argv', ['tool', 'vit.safetensors', 'new.pth', '--grid', '-1'])
    with pytest.raises(UserError, match=r'^-1 is less than 1 \| --grid \| '):
        tool['parse_args']()
    assert sorted(os.listdir()) == ['harmful.pth', 'list.pth', 'vit.safetensors']  # nothing written, nothing run
    monkeypatch.setattr(sys, 'argv', ['tool', 'vit.safetensors', 'new.pth'])
    tool['main'](tool['parse_args']())
    assert list(torch.load('new.pth', weights_only=True)['state_dict']) == ['backbone.layers.0.ln1.weight']
