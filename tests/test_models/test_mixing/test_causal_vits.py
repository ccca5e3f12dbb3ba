import warnings
from copy import deepcopy

import pytest
import torch
from mmengine.registry import DefaultScope
from mmpretrain.models import BEiTViT, VisionTransformer

from nepa_mm import NEPA
from nepa_mm.errors import ConfigError
from nepa_mm.models import CausalBEiTViT, CausalVisionTransformer, check_causal
from tiny import TINY, evaluated, randomize

HOST = dict(arch=TINY['arch'], img_size=28, patch_size=7)
ABSOLUTE = dict(use_rel_pos_bias=False, use_abs_pos_emb=True)
CASES = {
    'vit': (CausalVisionTransformer, VisionTransformer, {}),
    'vit-no-cls': (CausalVisionTransformer, VisionTransformer, dict(with_cls_token=False)),
    'vit-pre-norm': (CausalVisionTransformer, VisionTransformer, dict(pre_norm=True, layer_scale_init_value=0.1)),
    'vit-no-final-norm': (CausalVisionTransformer, VisionTransformer, dict(final_norm=False)),
    'beit': (CausalBEiTViT, BEiTViT, {}),
    'beit-shared': (CausalBEiTViT, BEiTViT, dict(use_rel_pos_bias=False, use_shared_rel_pos_bias=True)),
    'beit-absolute': (CausalBEiTViT, BEiTViT, ABSOLUTE),
    'beit-no-cls': (CausalBEiTViT, BEiTViT, dict(ABSOLUTE, with_cls_token=False)),
}


@pytest.fixture(params=CASES)
def case(request):
    return CASES[request.param]


def built(case, **more):
    cls, _, kwargs = case
    return evaluated(randomize(cls(**HOST, **kwargs, **more), std=0.3))


def parent_of(model, case, **more):
    """The parent with the same weights; strict."""
    _, parent, kwargs = case
    norm = dict(final_norm=True) if parent is BEiTViT else {}
    plain = evaluated(parent(**HOST, **{**norm, **kwargs}, **more))
    plain.load_state_dict(model.state_dict(), strict=True)
    return plain


@pytest.mark.parametrize('frozen_stages', [1, 3])
def test_frozen_blocks_stay_in_evaluation_mode(case, frozen_stages):
    model = built(case, frozen_stages=frozen_stages, drop_path_rate=0.5, drop_rate=0.5, out_indices=[0, 1, 2])
    images = torch.randn(4, 3, 28, 28)
    evaluated = model(images)
    same = [torch.equal(ours, theirs) for ours, theirs in zip(model.train()(images), evaluated)]
    assert same == [i < frozen_stages for i in range(3)]
    assert any(parameter.requires_grad for parameter in model.parameters()) == (frozen_stages < 3)


@pytest.mark.parametrize('out_type', ['raw', 'featmap'])
def test_without_causality_it_is_the_parent(case, out_type):
    model, images = built(case, causal=False, out_type=out_type, out_indices=[0, 2]), torch.randn(2, 3, 28, 28)
    for ours, theirs in zip(model(images), parent_of(model, case, out_type=out_type, out_indices=[0, 2])(images)):
        assert torch.equal(ours, theirs)


@pytest.mark.parametrize('causal', [True, False])
def test_embed_and_predict_are_the_forward_pass(case, causal):
    model, images = built(case, causal=causal), torch.randn(2, 3, 28, 28)
    torch.testing.assert_close(model.predict(model.embed(images), (28, 28)), model(images)[0], atol=1e-6, rtol=0)


def test_later_patches_change_no_earlier_output(case):
    model, images = built(case), torch.randn(2, 3, 28, 28)
    bidirectional = built(case, causal=False)
    bidirectional.load_state_dict(model.state_dict())
    z = model.embed(images)
    for t in (1, 7, z.shape[1] - 1):
        changed = torch.cat([z[:, :t], torch.randn_like(z[:, t:])], dim=1)
        before, after = (model.predict(tokens, (28, 28)) for tokens in (z, changed))
        torch.testing.assert_close(before[:, :t], after[:, :t], atol=1e-6, rtol=0)
        assert (before[:, t:] - after[:, t:]).abs().amax(-1).min() > 1e-3
        both = [bidirectional.predict(tokens, (28, 28)) for tokens in (z, changed)]
        assert (both[0] - both[1])[:, :t].abs().max() > 1e-3
    moved = images.clone()
    moved[:, :, 21:] += 1  # the last row of patches
    before, after = (model(x)[0][:, :-4] for x in (images, moved))
    torch.testing.assert_close(before, after, atol=1e-6, rtol=0)


@pytest.mark.parametrize('name', ['vit', 'beit'])
def test_a_copy_is_causal_too(name):
    """Averages of weights and momentum encoders are copies."""
    model, images = built(CASES[name]), torch.randn(2, 3, 28, 28)
    copy = deepcopy(model)
    assert torch.equal(copy(images)[0], model(images)[0])
    check_causal(copy, (28, 28))


def attended(model, layer, x):
    """Attention of one layer written out, with the causal mask on top of BEiT's bias."""
    attn = layer.attn
    bias = torch.cat([attn.q_bias, torch.zeros_like(attn.q_bias), attn.v_bias])
    q, k, v = (x @ attn.qkv.weight.T + bias).unflatten(-1, (3, 2, 8)).permute(2, 0, 3, 1, 4)  # [B, H, L, 8]
    scores = q @ k.transpose(-1, -2) / 8**0.5 + attn.relative_position_bias_table[attn.relative_position_index].permute(2, 0, 1)
    scores = scores.masked_fill(torch.ones(17, 17).triu(1).bool(), -torch.inf)
    return attn.proj((scores.softmax(-1) @ v).transpose(1, 2).flatten(2))


def test_beit_keeps_its_relative_positions():
    model = built(CASES['beit'])
    x = torch.randn(2, 17, 16)
    torch.testing.assert_close(model.layers[0].attn(x, rel_pos_bias=None), attended(model, model.layers[0], x), atol=1e-5, rtol=0)


def test_loss_is_nepa_s_and_reaches_all_but_the_target(case):
    model, images = NEPA(built(case)), torch.randn(2, 3, 28, 28, requires_grad=True)
    z, z_hat = model.backbone.embed(images), model.backbone(images)[0]
    result = model(images, mode='loss')
    expected = -torch.cosine_similarity(z_hat[:, :-1], z[:, 1:], dim=-1).mean()
    assert result['loss'].item() == pytest.approx(expected.item(), abs=1e-6)
    result['loss'].backward()
    without = [name for name, parameter in model.named_parameters() if parameter.grad is None]
    assert not without and not images.grad[:, :, 21:, 21:].any() and images.grad[:, :, :21].any()


def test_the_target_has_no_position(case):
    model, images = built(case), torch.randn(2, 3, 28, 28)
    z = model.embed(images)[:, model.num_extra_tokens:]
    assert torch.equal(z, model.patch_embed.projection(images).flatten(2).transpose(1, 2))


@pytest.mark.parametrize('name', ['vit', 'beit-absolute', 'beit-no-cls'])
@pytest.mark.parametrize('shape', [(35, 21), (30, 40)])
def test_other_sizes(name, shape):
    """Also sizes that are no whole patches, which mmcv pads."""
    model, images = built(CASES[name]), torch.randn(2, 3, *shape)
    torch.testing.assert_close(model.predict(model.embed(images), shape), model(images)[0], atol=1e-6, rtol=0)


def test_relative_positions_are_for_one_size():
    model = built(CASES['beit'])
    with pytest.raises(ConfigError, match=r'^\(28, 28\) and its relative positions do not fit an image of 35x28 pixels \| '
                                          r'img_size'):
        NEPA(model).loss(torch.randn(1, 3, 35, 28))
    with pytest.raises(ConfigError, match=r'False does not fit relative position biases.* \| with_cls_token'):
        CausalBEiTViT(**HOST, with_cls_token=False)


@pytest.mark.parametrize('name', ['vit', 'beit'])
def test_overlapping_patches_are_refused(name):
    cls, _, kwargs = CASES[name]
    with pytest.raises(ConfigError, match='patches share pixels'):
        cls(**HOST, **kwargs, patch_cfg=dict(stride=5))


@pytest.mark.parametrize('name', ['vit', 'beit'])
def test_cls_that_sees_nothing_warns(name):
    cls, _, kwargs = CASES[name]
    with pytest.warns(UserWarning, match="out_type='cls_token', causal=True"):
        cls(**HOST, **kwargs, out_type='cls_token')


@pytest.mark.parametrize('name', ['vit', 'beit'])
def test_a_causal_feature_map_warns_under_mmseg(name):
    cls, _, kwargs = CASES[name]
    with DefaultScope.overwrite_default_scope('mmseg'):
        with pytest.warns(UserWarning, match="out_type='featmap', causal=True"):
            cls(**HOST, **kwargs, out_type='featmap')
        with warnings.catch_warnings():
            warnings.simplefilter('error')
            cls(**HOST, **kwargs, out_type='featmap', causal=False)


@pytest.mark.parametrize('name', ['vit', 'beit'])
def test_a_pretraining_checkpoint_starts_the_parent(name, tmp_path):
    case = CASES[name]
    model = NEPA(built(case))
    torch.save(dict(state_dict=model.state_dict()), tmp_path / 'epoch_1.pth')
    _, parent, _ = case
    norm = dict(final_norm=True) if parent is BEiTViT else {}
    plain = parent(**HOST, **norm, init_cfg=dict(type='Pretrained', checkpoint=str(tmp_path / 'epoch_1.pth'), prefix='backbone.'))
    plain.init_weights()
    for key, value in model.backbone.state_dict().items():
        assert torch.equal(plain.state_dict()[key], value), key
