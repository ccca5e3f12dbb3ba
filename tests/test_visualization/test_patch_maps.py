import pytest
import torch
import torch.nn.functional as F
from mmpretrain.models import ImageClassifier, LinearClsHead
from timm.layers import set_fused_attn

from nepa_mm import NEPA, NEPAViT
from nepa_mm.errors import ConfigError
from nepa_mm.models import CausalBEiTViT, CausalNaFlexViT, CausalTIMMBackbone, CausalVisionTransformer
from nepa_mm.visualization import PatchMaps
from nepa_mm.visualization.patch_maps import AttentionCall, AttentionCalls
from tiny import TINY, randomize

PIXELS = dict(mean=[127.5] * 3, std=[127.5] * 3, to_rgb=True)
PAPER = dict(with_cls_token=False, use_abs_pos_embed=True, act='silu', gated_mlp=True)
VIT = dict(embed_dims=16, num_layers=3, num_heads=2, feedforward_channels=32)


def nepa(backbone=None, **kwargs):
    return NEPA(randomize(backbone or NEPAViT(**TINY, **kwargs)), data_preprocessor=PIXELS).eval()


def images(count=2, size=(28, 28)):
    return torch.randint(256, (count, 3, *size), dtype=torch.uint8)


@pytest.mark.parametrize('variant', [dict(), PAPER, dict(qk_norm=None, rope=None), dict(qk_norm='affine')],
                         ids=['release', 'paper', 'plain', 'affine'])
@pytest.mark.parametrize('causal', [True, False])
@pytest.mark.parametrize('with_cls_token', [True, False])
def test_weights_times_values_equal_the_fast_path(variant, causal, with_cls_token):
    model, seen = nepa(**{**variant, 'causal': causal, 'with_cls_token': with_cls_token}), []
    for layer in model.backbone.layers:
        layer.attn.register_forward_hook(lambda attn, args, out: seen.append((attn, args, out)))
    maps = PatchMaps(model, images())
    assert (maps.num_layers, maps.num_heads, maps.causal) == (3, 2, causal) and len(seen) == 3
    for i, (attn, (tokens, rope, _), out) in enumerate(seen):
        weights = maps.attention(i)
        torch.testing.assert_close(weights.sum(-1), torch.ones_like(weights[..., 0]))
        values = attn.queries_keys_values(tokens, rope)[2].transpose(1, 2)  # [B, H, L, d]
        again = attn.proj((weights @ values).transpose(1, 2).flatten(2))
        torch.testing.assert_close(again, out, atol=1e-5, rtol=1e-5)
        assert out.std() > 1e-2  # or the tolerance would say nothing
        later = torch.ones_like(weights[0, 0]).triu(1).bool()
        assert bool(weights[..., later].any()) != causal
        torch.testing.assert_close(maps.attention(i, [1, 5]), weights[:, :, [1, 5]])


@pytest.mark.parametrize('build', [
    lambda: NEPAViT(**TINY),
    lambda: CausalTIMMBackbone('vit_tiny_patch16_224', embed_dim=16, depth=3, num_heads=2, img_size=28, patch_size=7),
], ids=['NEPAViT', 'timm'])
def test_maps_are_seen_where_attention_is_not_fused(build):
    set_fused_attn(False)  # as TIMM_FUSED_ATTN=0 does
    try:
        backbone = build()
    finally:
        set_fused_attn(True)
    model, pixels = nepa(backbone), images()
    x = model.data_preprocessor(dict(inputs=pixels.flip(1), data_samples=None), False)['inputs']
    before = backbone.predict(backbone.embed(x), (28, 28))
    maps = PatchMaps(model, pixels)
    assert maps.num_layers == 3
    torch.testing.assert_close(maps.z_hat, before, atol=1e-5, rtol=1e-5)
    with AttentionCalls() as seen:
        assert torch.equal(backbone.predict(backbone.embed(x), (28, 28)), before)
    assert not seen.calls  # as it was


@pytest.mark.parametrize('preprocessor', [dict(), PIXELS], ids=['timm', 'mm'])
def test_a_fine_tuned_classifier_sees_rgb_normalised_by_its_own_preprocessor(preprocessor):
    head = dict(type='LinearClsHead', num_classes=3, in_channels=TINY['arch']['embed_dims'])
    preprocessor = dict(type='nepa_mm.TimmDataPreprocessor', **preprocessor)
    model = ImageClassifier(dict(type='nepa_mm.NEPAViT', **TINY), head=head, data_preprocessor=preprocessor)
    pixels = images()
    expected = randomize(model).eval().backbone.embed((pixels / 255 - 0.5) / 0.5)
    torch.testing.assert_close(PatchMaps(model, pixels).z, expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize('arguments', [
    dict(), dict(is_causal=True), dict(scale=0.3), dict(attn_mask=torch.ones(6, 6).tril(1).bool()),
    dict(attn_mask=torch.randn(1, 2, 6, 6)), dict(attn_mask=torch.randn(6, 6), scale=2.),
])
def test_weights_of_any_call(arguments):
    q, k, v = torch.randn(3, 1, 2, 6, 4)
    with AttentionCalls() as seen:
        out = F.scaled_dot_product_attention(q, k, v, **arguments)
    torch.testing.assert_close(seen.calls[0].weights() @ v, out, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(AttentionCall(q, k, v, **arguments).weights([4, 2]) @ v, out[..., [4, 2], :], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize('build', [
    lambda: CausalVisionTransformer(arch=VIT, img_size=28, patch_size=7),
    lambda: CausalTIMMBackbone('vit_tiny_patch16_224', embed_dim=16, depth=3, num_heads=2, img_size=28, patch_size=7),
    lambda: CausalTIMMBackbone('eva02_tiny_patch14_224', embed_dim=16, depth=3, num_heads=2, img_size=28, patch_size=7,
                               num_reg_tokens=2),
], ids=['mmpretrain', 'timm', 'registers'])
def test_backbones_of_the_hosts(build):
    torch.manual_seed(0)
    model = NEPA(build(), data_preprocessor=PIXELS).eval()
    maps = PatchMaps(model, images())
    weights = maps.attention(1)
    assert maps.grid == (4, 4) and maps.patch_size == (7, 7) and weights.shape == (2, 2, 17, 17)
    assert not weights[..., torch.ones(17, 17).triu(1).bool()].any()
    whole = maps.calls[1].weights()
    torch.testing.assert_close(whole[..., -17:, -17:], weights)
    call = maps.calls[1]
    fast = F.scaled_dot_product_attention(call.query, call.key, call.value, call.attn_mask, is_causal=call.is_causal,
                                          scale=call.scale)
    torch.testing.assert_close(whole @ call.value, fast, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize('build, grid', [
    (lambda: CausalVisionTransformer(arch=VIT, img_size=28, patch_size=7, patch_cfg=dict(padding=0)), (2, 4)),  # drops the rest
    (lambda: CausalTIMMBackbone('vit_tiny_patch16_224', embed_dim=16, depth=3, num_heads=2, img_size=28, patch_size=7,
                                dynamic_img_size=True, dynamic_img_pad=True), (3, 4)),
    (lambda: CausalNaFlexViT(model_name='naflexvit_base_patch16_gap', patch_size=7, embed_dim=16, depth=3, num_heads=2,
                             pos_embed_grid_size=(4, 4), dynamic_img_pad=True), (3, 4)),
], ids=['mmpretrain', 'timm', 'NaFlexViT'])
def test_patches_are_as_large_in_an_image_that_they_do_not_divide(build, grid):
    maps = PatchMaps(NEPA(build(), data_preprocessor=PIXELS).eval(), images(1, (15, 28)))
    assert maps.grid == grid and maps.patch_size == (7, 7)


def test_a_backbone_whose_weights_cannot_be_seen():
    beit = CausalBEiTViT(arch=VIT, img_size=28, patch_size=7)
    with pytest.raises(ConfigError, match='CausalBEiTViT does not call scaled_dot_product_attention.*choose a NEPAViT'):
        PatchMaps(NEPA(beit, data_preprocessor=PIXELS), images())


@pytest.mark.parametrize('with_cls_token', [True, False])
def test_similarity_is_the_cosine_of_prediction_and_embedding(with_cls_token):
    model, pixels, extra = nepa(with_cls_token=with_cls_token), images(size=(28, 21)), int(with_cls_token)
    maps = PatchMaps(model, pixels)
    x = (pixels.float() - 127.5) / 127.5  # RGB, as the config's preprocessor gives it
    z, z_hat = model.backbone.embed(x), model.backbone(x)[0]
    assert maps.similarity().shape == (2, 12 + extra, 12) and maps.grid == (4, 3) and maps.predicts
    expected = F.cosine_similarity(z_hat[1, extra + 4], z[1, extra + 7], dim=0)
    assert maps.similarity()[1, extra + 4, 7].item() == pytest.approx(expected.item(), abs=1e-5)
    torch.testing.assert_close(maps.similarity([3]), maps.similarity()[:, [3]])
    # What the loss says of the whole is the mean of what the maps say of the next patch
    steps = torch.stack([maps.similarity()[:, token, token + 1 - extra] for token in range(12 + extra - 1)])
    assert -steps.mean().item() == pytest.approx(model(x, mode='loss')['loss'].item(), abs=1e-5)


def test_outputs_of_a_classifier_are_compared_with_one_another():
    backbone = randomize(NEPAViT(**TINY, causal=False, out_type='avg_featmap'))
    model = ImageClassifier(backbone, head=LinearClsHead(2, 16), data_preprocessor=dict(type='ClsDataPreprocessor', **PIXELS))
    maps = PatchMaps(model, images())
    assert not maps.predicts and not maps.causal
    torch.testing.assert_close(maps.similarity()[:, 1:].diagonal(dim1=1, dim2=2), torch.ones(2, 16))


def test_a_model_in_training_stays_as_it_is():
    model = nepa(drop_path_rate=0.5).train()
    state = torch.get_rng_state()
    first, second = (PatchMaps(model, images(1) * 0 + 9).similarity() for _ in range(2))
    torch.testing.assert_close(first, second)
    torch.set_rng_state(state)
    PatchMaps(model, torch.zeros(1, 3, 28, 28, dtype=torch.uint8))
    assert model.training and model.backbone.layers[0].training
    assert torch.equal(torch.get_rng_state(), state) and all(parameter.grad is None for parameter in model.parameters())


def test_patches_by_row_and_column():
    maps = PatchMaps(nepa(), images(size=(28, 30)))  # 30 pixels are 5 patches, the last of them padded
    assert maps.grid == (4, 5) and maps.patch_size == (7, 7) and maps.token((1, 2)) == 1 + 7
    for query in ((4, 0), (0, 5), (-1, 0)):
        with pytest.raises(ConfigError, match=rf'^{query[0]},{query[1]} is outside the grid of 4 rows and 5 columns.* \| '
                                              rf'query \| .*to 3,4'):
            maps.token(query)
