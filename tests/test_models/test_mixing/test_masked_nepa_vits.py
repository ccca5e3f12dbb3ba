from functools import partial

import pytest
import torch
from mmengine.registry import DefaultScope, init_default_scope
from mmpretrain.datasets import SimMIMMaskGenerator
from mmpretrain.registry import MODELS
from mmpretrain.structures import DataSample
from timm.layers import AttentionRope
from torch import nn

from nepa_mm import NEPAViT
from nepa_mm.errors import CheckpointError, ConfigError
from nepa_mm.models import MAENEPAViT, SimMIMNEPAViT
from tiny import TINY, randomize


def build(**kwargs):
    return randomize(MAENEPAViT(**{**TINY, 'qk_norm': 'affine', **kwargs})).eval()


def plain(encoder, **kwargs):
    """The same weights in the backbone that fine-tuning uses; strict."""
    model = NEPAViT(**{**TINY, 'causal': False, 'qk_norm': 'affine', **kwargs}).eval()
    model.load_state_dict(encoder.state_dict(), strict=True)
    return model


def assert_learns(model, images, samples, lr):
    """The loss falls by a fifth in 30 steps, and reaches every parameter of the backbone."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=lr)
    losses = []
    for step in range(30):
        loss = model.loss(images, samples)['loss']
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.8 * losses[0], losses
    assert all(parameter.grad.abs().max() > 0 for parameter in model.backbone.parameters())


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
                            (dict(causal=True), r'True does not fit MAE.* \| causal'),
                            (dict(with_cls_token=False), r'False does not fit.* \| with_cls_token')]:
        with pytest.raises(ConfigError, match=message):
            MAENEPAViT(**TINY, **kwargs)


def simmim(**kwargs):
    return randomize(SimMIMNEPAViT(**{**TINY, 'qk_norm': 'affine', **kwargs})).eval()


def masks(batch=2, size=28):
    generator = SimMIMMaskGenerator(input_size=size, mask_patch_size=14, model_patch_size=7, mask_ratio=0.5)
    return torch.stack([torch.from_numpy(generator(dict())['mask']) for _ in range(batch)])


def test_without_a_mask_it_is_the_backbone():
    model, images = simmim(out_indices=[0, 2]), torch.randn(2, 3, 28, 28)
    plain = NEPAViT(**TINY, qk_norm='affine', causal=False, out_type='featmap', out_indices=[0, 2]).eval()
    plain.load_state_dict({name: value for name, value in model.state_dict().items() if name != 'mask_token'}, strict=True)
    for ours, theirs, hidden_none in zip(model(images), plain(images), model(images, torch.zeros(2, 4, 4, dtype=int))):
        assert torch.equal(ours, theirs) and torch.equal(hidden_none, theirs) and ours.shape == (2, 16, 4, 4)


def test_a_hidden_patch_has_no_influence_and_a_seen_one_has():
    model, images, mask = simmim(), torch.randn(2, 3, 28, 28), masks()
    assert mask.float().mean() == 0.5
    hidden = mask.repeat_interleave(7, 1).repeat_interleave(7, 2)[:, None].bool()
    before, = model(images, mask)
    assert torch.equal(model(images + hidden * torch.randn_like(images), mask)[0], before)
    assert (model(images + ~hidden * torch.randn_like(images), mask)[0] - before).abs().amin(dim=1).max() > 1e-3
    expected = model.embed(images)
    expected[:, 1:][mask.flatten(1).bool()] = model.mask_token[0, 0]
    *_, last = model.hidden_states(expected, (28, 28))
    torch.testing.assert_close(before.flatten(2).transpose(1, 2), last[:, 1:], atol=1e-6, rtol=0)


def test_a_frozen_one_has_no_trainable_part():
    assert not any(parameter.requires_grad for parameter in simmim(frozen_stages=3).parameters())


def test_mask_of_other_patches():
    with pytest.raises(ConfigError, match=r'a mask of \(4, 4\) patches does not fit an image of \(30, 28\) pixels'):
        simmim()(torch.randn(2, 3, 30, 28), masks())


def test_simmim_trains_on_patches_of_14():
    cfg = dict(
        type='SimMIM',
        data_preprocessor=dict(type='SelfSupDataPreprocessor', mean=[127.5] * 3, std=[127.5] * 3),
        backbone=dict(type='nepa_mm.SimMIMNEPAViT', **{**TINY, 'img_size': 56, 'patch_size': 14}),
        neck=dict(type='SimMIMLinearDecoder', in_channels=16, encoder_stride=14),
        head=dict(type='SimMIMHead', patch_size=14, loss=dict(type='PixelReconstructionLoss', criterion='L1', channel=3)))
    init_default_scope('mmpretrain')
    try:
        model = MODELS.build(cfg)
    finally:
        DefaultScope._instance_dict.clear()
    images = torch.randn(4, 3, 1, 1) + torch.linspace(-1, 1, 56)[None, None, :, None] + torch.linspace(-2, 1, 56)
    generator = SimMIMMaskGenerator(input_size=56, mask_patch_size=28, model_patch_size=14, mask_ratio=0.5)
    samples = [DataSample().set_mask(generator(dict())['mask']) for _ in range(4)]
    assert_learns(model, images, samples, lr=3e-3)


def test_weights_start_fine_tuning_but_for_the_mask_token(tmp_path):
    model = simmim()
    weights = {f'backbone.{name}': value for name, value in model.state_dict().items()}
    torch.save(dict(state_dict=weights), tmp_path / 'simmim.pth')
    init = dict(type='Pretrained', checkpoint=str(tmp_path / 'simmim.pth'), prefix='backbone.')
    tuned = NEPAViT(**TINY, causal=False, qk_norm='affine', init_cfg=init, allow_unmatched=['mask_token'])
    tuned.init_weights()
    assert all(torch.equal(value, model.state_dict()[name]) for name, value in tuned.state_dict().items())
    with pytest.raises(CheckpointError, match='mask_token'):
        NEPAViT(**TINY, causal=False, qk_norm='affine', init_cfg=init).init_weights()
