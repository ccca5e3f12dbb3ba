import re

import pytest
import torch
import torch.nn.functional as F
from timm.models import adapt_input_conv

from nepa_mm import NEPAViT, get_model
from nepa_mm.checkpoints.fitting.fit import fit_backbone
from nepa_mm.checkpoints.record import config_text
from nepa_mm.errors import CheckpointError
from tiny import TINY, randomize

PAPER = dict(with_cls_token=False, use_abs_pos_embed=True)
SIDE = torch.arange(28.) - 13.5


def tiny(**kwargs):
    return randomize(NEPAViT(**{**TINY, **kwargs})).eval()


def arch(**kwargs):
    return dict(arch={**TINY['arch'], **kwargs})


def refuse(model, state, message):
    with pytest.raises(CheckpointError, match=message) as error:
        model.load_state_dict(state, strict=False)
    assert '\n' not in str(error.value)


def test_foreign_and_incomplete_checkpoints_are_refused():
    foreign = {f'blocks.{i}.attn.qkv.weight': torch.zeros(1) for i in range(12)}
    first = re.escape(f'first keys: {list(foreign)[:5]}')
    refuse(tiny(), foreign, f'no weights of a NEPA ViT here .*{first} ')
    # mmpretrain's ViT, of MAE or DINO, has blocks of the same names
    blocks = {name: value for name, value in tiny().state_dict().items() if not name.startswith('patch_embed')}
    refuse(tiny(), blocks | {'patch_embed.projection.weight': torch.zeros(16, 3, 7, 7)}, 'no weights of a NEPA ViT here')
    state = tiny().state_dict()
    del state['layers.1.ls1.gamma']
    refuse(tiny(), state, r"it lacks 1 of the 47 tensors of this backbone, such as layers.1.ls1.gamma; first keys: \['cls_token'")
    no_place = r"6 of its 47 backbone tensors have no place here; first keys: \['layers.0.mlp.fc1.weight'"
    refuse(tiny(gated_mlp=True), tiny().state_dict(), no_place)


def test_weights_that_would_not_be_used_are_refused():
    refuse(tiny(with_cls_token=False), tiny().state_dict(), r"1 of its 47 .* no place here; first keys: \['cls_token'\]")
    refuse(tiny(), {**tiny().state_dict(), 'extra.a': torch.ones(1), 'extra.b': torch.ones(1)}, r"\['extra.a', 'extra.b'\]")
    refuse(tiny(), tiny(qk_norm='affine').state_dict(), r"6 of its 53 .*no place here \(qk_norm='affine' keeps them\)")


@pytest.mark.parametrize('sizes, message', [
    (dict(embed_dims=32), 'embed_dims=16 there and 32 here'),
    (dict(num_layers=2), '3 blocks there and 2 here'),
    (dict(num_layers=4), '3 blocks there and 4 here'),
    (dict(feedforward_channels=64), r'layers.0.mlp.fc1.weight is \[32, 16\] there and \[64, 16\] here \(check arch'),
])
def test_another_width_or_depth_is_refused(sizes, message):
    refuse(tiny(**arch(**sizes)), tiny().state_dict(), message)
    for channels in (1, 3):  # only RGB is adapted
        refuse(tiny(in_channels=channels), tiny(in_channels=4).state_dict(),
               rf'patch_embed.weight is \[16, 4, 7, 7\] there and \[16, {channels}, 7, 7\] here')


@pytest.mark.parametrize('kwargs, message', [
    (arch(num_heads=4), 'num_heads=4 there and 2 here'),
    (dict(qk_norm=None), 'qk_norm=False there and True here'),
    (dict(act='silu'), "act='silu' there and 'gelu' here"),
    (dict(rope=dict(theta=10.)), 'rope_theta=10.0 there and 100.0 here'),
    (dict(rope=None), 'rope_theta=None there'),
    (dict(norm_eps=1e-6), 'norm_eps=1e-06 there'),
])
def test_settings_that_no_tensor_shows_must_agree_where_they_are_known(kwargs, message):
    saved, model = tiny(**kwargs), tiny()
    with pytest.raises(CheckpointError, match=message):
        fit_backbone(model, saved.state_dict(), settings=saved.untraced_settings)
    fit_backbone(model, saved.state_dict())  # not known
    model.allow_unmatched = [message.split('=')[0]]
    fit_backbone(model, saved.state_dict(), settings=saved.untraced_settings)


def test_what_is_listed_may_be_missing_or_unused():
    state = tiny().state_dict()
    model = tiny(allow_unmatched=['layers.*.ls?.gamma', 'cls_token'])
    before = model.layers[0].ls1.gamma.clone()
    without = {name: value for name, value in state.items() if 'gamma' not in name}
    fit = fit_backbone(model, dict(without), 'a.pth')
    assert str(fit) == 'a.pth: 41 of 41 backbone tensors loaded; created: 6 in allow_unmatched as initialized; ignored: nothing'
    model.load_state_dict(without, strict=False)
    assert torch.equal(model.layers[0].ls1.gamma, before) and torch.equal(model.norm.weight, state['norm.weight'])

    fit = fit_backbone(tiny(with_cls_token=False, allow_unmatched=['cls_token']), dict(state), 'a.pth')
    assert str(fit) == 'a.pth: 46 of 47 backbone tensors loaded; created: nothing; ignored: 1 in allow_unmatched'


def test_what_fine_tuning_adds_is_created_as_the_identity():
    pretrained, x = tiny(), torch.randn(2, 3, 28, 28)
    tuned = tiny(qk_norm='affine_bias', out_type='avg_featmap')
    fit = fit_backbone(tuned, pretrained.state_dict(), 'a.pth')
    assert str(fit) == ('a.pth: 47 of 47 backbone tensors loaded; created: 6 affine QK-norm weights as ones, 6 QK-norm biases as '
                        'zeros, 2 of fc_norm as the identity; ignored: nothing')
    tuned.load_state_dict(pretrained.state_dict(), strict=True)
    torch.testing.assert_close(tuned.predict(tuned.embed(x), (28, 28)), pretrained(x)[0], atol=1e-5, rtol=0)
    assert tuned.fc_norm.weight.eq(1).all() and tuned.fc_norm.bias.eq(0).all()

    # ... and back, as long as it has not been trained.
    fit = fit_backbone(pretrained, tuned.state_dict(), 'b.pth')
    assert fit.loaded == 47 and fit.available == 61 and not fit.created and fit.ignored == [
        '6 affine QK-norm weights, all of them the identity', '6 QK-norm biases, all of them the identity',
        '2 of fc_norm, which only classification has']


def test_additions_of_fine_tuning_in_pieces_are_refused():
    state = tiny(qk_norm='affine').state_dict()
    del state['layers.1.attn.k_norm.weight']
    refuse(tiny(qk_norm='affine'), state, 'it lacks 1 of the 53 tensors of this backbone, such as layers.1.attn.k_norm.weight')


def test_position_embedding_is_resized():
    small, large = tiny(**PAPER), tiny(**PAPER, img_size=56)
    small.pos_embed.data.fill_(3.)
    large.load_state_dict(small.state_dict())
    torch.testing.assert_close(large.pos_embed.data, torch.full((1, 64, 16), 3.), atol=1e-5, rtol=0)
    fit = fit_backbone(large, small.state_dict())
    assert fit.changed == ['position embedding resized from a square of 4x4 to 8x8']
    state = small.state_dict()
    state['pos_embed'] = torch.zeros(1, 17, 16)
    refuse(small, state, '17 positions, not a square grid, and cannot be resized to 4x4 patches')


def test_position_embedding_of_a_grid_that_is_no_square_is_resized(tmp_path):
    """From the grid that its config says: another one of as many places is no reason to take it as it is."""
    wide = tiny(**PAPER, img_size=(14, 56))
    wide.pos_embed.data = torch.arange(8.).expand(2, 8).reshape(1, 16, 1).expand(1, 16, 16).clone()  # columns from 0 to 7
    text = config_text(dict(model=dict(
        type='nepa_mm.NEPA', backbone=dict(type='nepa_mm.NEPAViT', **{**TINY, **PAPER, 'img_size': (14, 56)}))))
    weights = {f'backbone.{name}': value for name, value in wide.state_dict().items()}
    torch.save(dict(state_dict=weights, meta=dict(cfg=text)), tmp_path / 'a.pth')
    for size, rows in (((56, 14), 8), (28, 4)):
        loaded = tiny(**PAPER, img_size=size, init_cfg=dict(type='Pretrained', checkpoint=str(tmp_path / 'a.pth')))
        loaded.init_weights()
        columns = loaded.pos_embed.data.view(rows, -1, 16)
        assert torch.allclose(columns, columns[:1], atol=1e-5) and (columns.diff(dim=1) > 1).all()
    assert torch.equal(get_model(str(tmp_path / 'a.pth')).backbone.pos_embed.data, wide.pos_embed.data)


@pytest.mark.parametrize('channels', [1, 4, 12])
def test_patch_embedding_of_rgb_is_adapted_as_by_timm(channels):
    state, model = tiny().state_dict(), tiny(in_channels=channels)
    rgb = state['patch_embed.weight'].clone()
    fit = fit_backbone(model, state)
    model.load_state_dict(state)
    assert fit.changed == [f'patch embedding adapted from RGB to {channels} channel{"s" * (channels > 1)}']
    images = torch.randn(2, channels, 28, 28)
    weight = adapt_input_conv(channels, rgb)
    expected = F.conv2d(images, weight, state['patch_embed.bias'], stride=7)
    assert torch.equal(model.patch_embed(images), expected)
    if channels == 1:
        of_grey = F.conv2d(images.repeat(1, 3, 1, 1), rgb, state['patch_embed.bias'], stride=7)
        torch.testing.assert_close(expected, of_grey, atol=1e-5, rtol=1e-5)
    if channels == 4:
        assert torch.equal(weight[:, 3], rgb[:, 0] * 0.75)  # the first again, all scaled to the same sum
    smaller = tiny(in_channels=channels, patch_size=14)
    fit = fit_backbone(smaller, tiny().state_dict())
    assert [words.split(' from ')[0] for words in fit.changed] == ['patch embedding adapted', 'patch embedding resampled']


@pytest.mark.parametrize('patch_size', [8, 14, 4])
def test_patch_embedding_is_resampled(patch_size):
    """Of an image that varies slowly, resized with the patches, every patch embedding stays (FlexiViT, arXiv 2212.08013)."""
    small, other = tiny(), tiny(patch_size=patch_size, img_size=4 * patch_size)
    other.load_state_dict(small.state_dict())
    fit = fit_backbone(other, small.state_dict())
    assert fit.changed == [f'patch embedding resampled from 7x7 to {patch_size}x{patch_size} pixels']
    image = torch.stack([SIDE[:, None].expand(28, 28), SIDE.expand(28, 28), torch.ones(28, 28)]) / 14
    patches = image.unfold(1, 7, 7).unfold(2, 7, 7).permute(1, 2, 0, 3, 4).flatten(0, 1)  # [16, 3, 7, 7]
    resized = torch.nn.functional.interpolate(patches, (patch_size, patch_size), mode='bicubic', antialias=True)
    error = (small.patch_embed(patches) - other.patch_embed(resized)).abs().max() / small.patch_embed(patches).abs().max()
    assert error < (1e-4 if patch_size > 7 else 0.6)  # fewer pixels cannot hold all of a random kernel


@pytest.mark.parametrize('kwargs', [dict(), dict(gated_mlp=True, act='silu'), dict(qk_norm='affine')])
def test_layer_scale_is_folded_where_there_is_none(kwargs):
    scaled, plain = tiny(**kwargs), tiny(**kwargs, layer_scale_init_value=None)
    x = torch.randn(2, 3, 28, 28)
    fit = fit_backbone(plain, scaled.state_dict(), 'a.pth')
    assert fit.changed == ['6 LayerScales folded into the linear layers before them'] and fit.loaded == fit.available
    plain.load_state_dict(scaled.state_dict(), strict=True)
    torch.testing.assert_close(plain(x)[0], scaled(x)[0], atol=1e-5, rtol=0)
    refuse(scaled, plain.state_dict(), 'lacks 6 of the .*ls1.gamma')


def test_a_small_layer_scale_is_folded_in_full_precision():
    scaled = tiny()
    for layer in scaled.layers:
        layer.ls1.gamma.data.fill_(1e-5)
    plain = tiny(layer_scale_init_value=None)
    plain.load_state_dict({name: value.half() for name, value in scaled.state_dict().items()})
    expected = scaled.layers[0].attn.proj.weight.half().float() * torch.tensor(1e-5).half().float()
    torch.testing.assert_close(plain.layers[0].attn.proj.weight.data, expected, atol=0, rtol=1e-6)


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_half_precision_is_read_into_the_precision_of_the_model(dtype):
    saved, model = tiny(), tiny()
    state = {name: value.to(dtype) for name, value in saved.state_dict().items()}
    assert fit_backbone(model, dict(state)).changed == [f'{str(dtype)[6:]} read as float32']
    model.load_state_dict(state)
    assert model.norm.weight.dtype == torch.float32 and torch.equal(model.norm.weight, saved.norm.weight.to(dtype).float())
