from functools import partial

import pytest
import torch
from mmengine.registry import DefaultScope, init_default_scope
from mmpretrain.models.utils import build_2d_sincos_position_embedding
from mmpretrain.registry import MODELS
from timm.layers import AttentionRope
from torch import nn

from nepa_mm import NEPAViT
from nepa_mm.errors import ConfigError
from nepa_mm.models import CAENEPAViT, MAENEPAViT, MFFNEPAViT, MILANNEPAViT
from tiny import TINY, assert_learns, randomize


def build(kind=MAENEPAViT, **kwargs):
    return randomize(kind(**{**TINY, 'qk_norm': 'affine', **kwargs})).eval()


def plain(encoder, **kwargs):
    """The same weights in the backbone that fine-tuning uses; strict."""
    model = NEPAViT(**{**TINY, 'causal': False, 'qk_norm': 'affine', **kwargs}).eval()
    model.load_state_dict(encoder.state_dict(), strict=True)
    return model


@pytest.mark.parametrize('pos_embed, frozen_stages', [(False, -1), (True, 2)])
def test_with_nothing_hidden_it_is_the_plain_backbone_in_another_order(pos_embed, frozen_stages):
    encoder = build(mask_ratio=0., use_abs_pos_embed=pos_embed, frozen_stages=frozen_stages)
    images = torch.randn(2, 3, 28, 28)
    latent, mask, ids_restore = encoder(images)
    whole, = plain(encoder, use_abs_pos_embed=pos_embed)(images)
    assert latent.shape == (2, 17, 16) and mask.shape == (2, 16) and not mask.any()
    assert not torch.equal(ids_restore[0], ids_restore[1])  # each image has an order of its own
    restored = latent[:, 1:].gather(1, ids_restore[..., None].expand(-1, -1, 16))
    torch.testing.assert_close(torch.cat([latent[:, :1], restored], dim=1), whole, atol=1e-5, rtol=0)
    assert (latent[:, 1:] - restored).abs().max() > 0.1  # the order matters, so the above says something


def reference(model, images, mask):
    """All tokens through the blocks, hidden patches kept from being attended to; [B, L, D]."""
    size = tuple(images.shape[-2:])
    x, rope = model.add_position(model.embed(images), model.grid(size)), model.rope_table(size, images.device)
    seen = torch.cat([torch.ones(len(x), 1), 1 - mask], dim=1).bool()[:, None, None]  # [B, 1, 1, L]
    bias = torch.zeros(seen.shape).masked_fill(~seen, -torch.inf)
    for layer in model.layers:
        attention = AttentionRope(16, 2, num_prefix_tokens=1, rotate_half=True, qk_norm=True,
                                  norm_layer=partial(nn.LayerNorm, bias=False, eps=1e-12)).eval()
        attention.load_state_dict(layer.attn.state_dict())
        x = x + layer.ls1(attention(layer.ln1(x), rope=rope, attn_mask=bias))
        x = x + layer.ls2(layer.mlp(layer.ln2(x)))
    return model.norm(x)


@pytest.mark.parametrize('shape', [(28, 28), (35, 21)])
def test_kept_patches_equal_attention_that_leaves_the_hidden_ones_out(shape):
    encoder = build()
    images = torch.randn(3, 3, *shape)
    latent, mask, ids_restore = encoder(images)
    num_patches = shape[0] * shape[1] // 49
    num_kept = num_patches // 4
    assert latent.shape == (3, 1 + num_kept, 16) and mask.shape == ids_restore.shape == (3, num_patches)
    assert mask.sum(dim=1).tolist() == [num_patches - num_kept] * 3
    expected = reference(plain(encoder), images, mask)
    torch.testing.assert_close(latent[:, 0], expected[:, 0], atol=1e-5, rtol=0)
    for b in range(3):
        kept = (mask[b] == 0).nonzero()[:, 0]
        torch.testing.assert_close(latent[b, 1 + ids_restore[b, kept]], expected[b, 1 + kept], atol=1e-5, rtol=0)


def test_the_rotation_is_that_of_the_patch_s_own_place():
    """The same tokens, with the rotations of their own places and with those of the first places."""
    encoder = build(mask_ratio=0.5)
    images = torch.randn(1, 3, 28, 28)
    latent, _, ids_restore = encoder(images)
    kept = ids_restore[0].argsort()[:8]
    tokens, rope = encoder.embed(images)[:, torch.cat([torch.zeros(1, dtype=int), 1 + kept])], encoder.rope_table((28, 28), 'cpu')
    *_, own = encoder.run_blocks(tokens, rope[kept])
    *_, first = encoder.run_blocks(tokens, rope[:8])
    torch.testing.assert_close(latent, own, atol=1e-6, rtol=0)
    assert (first - latent).abs().max() > 0.01


@pytest.mark.parametrize('mask', [None, False])
def test_without_mask_it_is_the_backbone(mask):
    encoder = build(out_type='featmap', out_indices=[0, 2])
    images = torch.randn(2, 3, 28, 28)
    for ours, theirs in zip(encoder(images, mask=mask), plain(encoder, out_type='featmap', out_indices=[0, 2])(images)):
        assert ours.shape == (2, 16, 4, 4) and torch.equal(ours, theirs)


def test_initial_values_are_mae_s():
    encoder = MAENEPAViT(**TINY)
    for weight, fans in [(encoder.patch_embed.weight, 16 + 3 * 49), (encoder.layers[0].attn.qkv.weight, 16 + 48)]:
        bound = (6 / fans)**0.5
        assert 0.95 * bound < weight.abs().max() <= bound and not encoder.patch_embed.bias.any()


@pytest.mark.parametrize('qk_norm', ['plain', 'affine'])
def test_pretraining_weights_load_for_fine_tuning(qk_norm):
    encoder = build(qk_norm=qk_norm)
    tuned = NEPAViT(**TINY, causal=False, qk_norm='affine')
    tuned.load_state_dict(encoder.state_dict(), strict=True)
    for name, value in tuned.state_dict().items():
        assert torch.equal(value, encoder.state_dict().get(name, torch.ones_like(value))), name


def test_mae_trains_on_patches_of_14():
    cfg = dict(
        type='MAE',
        data_preprocessor=dict(type='SelfSupDataPreprocessor', mean=[127.5] * 3, std=[127.5] * 3),
        backbone=dict(type='nepa_mm.MAENEPAViT', **{**TINY, 'img_size': 56, 'patch_size': 14}),
        neck=dict(type='MAEPretrainDecoder', num_patches=16, patch_size=14, embed_dim=16, decoder_embed_dim=16, decoder_depth=1,
                  decoder_num_heads=2),
        head=dict(
            type='MAEPretrainHead', norm_pix=True, patch_size=14, loss=dict(type='PixelReconstructionLoss', criterion='L2')))
    init_default_scope('mmpretrain')
    try:
        model = MODELS.build(cfg)
        model.init_weights()
    finally:
        DefaultScope._instance_dict.clear()
    images = torch.randn(4, 3, 1, 1) + torch.linspace(-1, 1, 56)[None, None, :, None] + torch.linspace(-2, 1, 56)
    assert_learns(model, images, None, lr=1e-3)
    assert model.extract_feat(images)[0].shape == (4, 17, 16)
    assert not [name for name, _ in model.named_parameters() if name.endswith('q_norm.weight')]  # as NEPA pretrains


def test_errors():
    for kwargs, message in [(dict(mask_ratio=1.), r'1.0 is not in \[0, 1\).* \| mask_ratio'),
                            (dict(causal=True), r'True does not fit an encoder.* \| causal'),
                            (dict(with_cls_token=False), r'False does not fit.* \| with_cls_token')]:
        with pytest.raises(ConfigError, match=message):
            MAENEPAViT(**TINY, **kwargs)


def test_mff_s_levels_are_summed_by_their_weights():
    encoder, images = build(MFFNEPAViT, out_indices=[0, 2], mask_ratio=0.5), torch.randn(2, 3, 28, 28)
    torch.manual_seed(0)
    latent, mask, ids_restore, weights = encoder(images)
    kept = ids_restore.argsort(dim=1)[:, :8]
    first, _, last = encoder.run_without_norm(*encoder.kept_tokens(images, kept), False)
    share = encoder.proj_weights.flatten().softmax(0)
    torch.testing.assert_close(weights, share)
    expected = encoder.norm(share[0] * encoder.proj_layers[0](first) + share[1] * last)
    torch.testing.assert_close(latent, expected, atol=1e-5, rtol=0)
    with torch.no_grad():
        encoder.proj_weights.copy_(torch.tensor([-100., 100.])[:, None, None, None])
    plain = MAENEPAViT(**TINY, qk_norm='affine', mask_ratio=0.5, allow_unmatched=['proj_*']).eval()
    plain.load_state_dict(encoder.state_dict(), strict=True)
    outputs = []
    for model in (encoder, plain):  # with all the weight on the last block it is MAE
        torch.manual_seed(1)
        outputs.append(model(images)[:3])
    for ours, theirs in zip(*outputs):
        torch.testing.assert_close(ours, theirs, atol=1e-6, rtol=0)
    assert [output.shape for output in encoder(images, mask=None)] == [(2, 17, 16)] * 2


def test_milan_draws_by_importance():
    encoder, images = build(MILANNEPAViT), torch.randn(2, 3, 28, 28)
    chosen = torch.tensor([[0, 5, 10, 15], [1, 2, 3, 4]])
    importance = torch.full((2, 16), 1e-20).scatter(1, chosen, 1.)
    latent, ids_restore, kept, hidden = encoder(images, importance)
    assert torch.equal(kept.sort(dim=1)[0], chosen) and torch.equal(torch.cat([kept, hidden], 1).argsort(1), ids_restore)
    expected = reference(plain(encoder), images, torch.ones(2, 16).scatter(1, chosen, 0.))
    places = torch.cat([torch.zeros(2, 1, dtype=int), 1 + kept], dim=1)
    torch.testing.assert_close(latent, expected.gather(1, places[..., None].expand(-1, -1, 16)), atol=1e-5, rtol=0)
    assert torch.equal(encoder(images, importance=None)[0], plain(encoder)(images)[0])


def test_cae_s_mask_comes_from_outside():
    encoder, images = build(CAENEPAViT), torch.randn(2, 3, 28, 28)
    mask = torch.rand(2, 16).argsort(dim=1) < 10
    for hidden in (mask, ~mask):  # what CAE's encoder sees, and what its teacher does
        expected = reference(plain(encoder), images, hidden.float())
        seen = torch.cat([torch.ones(2, 1, dtype=bool), ~hidden], dim=1)
        torch.testing.assert_close(encoder(images, hidden), expected[seen].unflatten(0, (2, -1)), atol=1e-5, rtol=0)
    assert torch.equal(encoder(images, mask=None)[0], plain(encoder)(images)[0])
    assert encoder.pos_embed.shape == (1, 17, 16) and not encoder.pos_embed.requires_grad
    mask[0] = True
    with pytest.raises(ConfigError, match=r'masks hide 10 patches of one image and 16 of another'):
        encoder(images, mask)


def test_cae_s_positions_of_an_image_that_is_no_square():
    pos_embed = build(CAENEPAViT, img_size=(28, 14)).pos_embed[0, 1:]  # of 4 x 2 patches, row by row
    rows, columns = torch.arange(4.).repeat_interleave(2), torch.arange(2.).repeat(4)
    assert torch.equal(pos_embed[:, 0], rows.sin()) and torch.equal(pos_embed[:, 8], columns.sin())
    square = build_2d_sincos_position_embedding(4, 16, cls_token=True)
    assert torch.equal(build(CAENEPAViT).pos_embed, square)  # as mmpretrain's


def test_errors_of_those_like_mae():
    for kind, kwargs, message in [(MFFNEPAViT, dict(out_indices=[2]), r'\[2\] is not two or more of 3 blocks'),
                                  (MFFNEPAViT, dict(out_indices=[0, 1]), r'\[0, 1\] is not two or more .* end it with 2'),
                                  (CAENEPAViT, dict(use_abs_pos_embed=True), r'True does not fit CAE.* \| use_abs_pos_embed')]:
        with pytest.raises(ConfigError, match=message):
            kind(**TINY, **kwargs)
