import pytest
import timm
import torch
from mmpretrain.models import TIMMBackbone

from nepa_mm import NEPA
from nepa_mm.errors import ConfigError
from nepa_mm.models import CausalNaFlexViT, CausalTIMMBackbone
from tiny import evaluated, randomize

SIZES = dict(img_size=32, patch_size=8, embed_dim=16, depth=2, num_heads=2)
CASES = {
    'vit': dict(model_name='vit_tiny_patch16_224'),
    'vit-mean': dict(model_name='vit_tiny_patch16_224', global_pool='avg'),
    'vit-no-cls': dict(model_name='vit_tiny_patch16_224', class_token=False, global_pool=''),
    'vit-registers': dict(model_name='vit_base_patch14_reg4_dinov2', dynamic_img_size=True),
    'vit-clip': dict(model_name='vit_base_patch16_clip_224'),
    'siglip': dict(model_name='vit_base_patch16_siglip_224'),
    'eva02': dict(model_name='eva02_tiny_patch14_224', dynamic_img_size=True),
    'dinov3': dict(model_name='vit_small_patch16_dinov3', dynamic_img_size=True),
    'rope-mixed': dict(model_name='vit_small_patch16_rope_mixed_224'),
    'pe-core': dict(model_name='vit_pe_core_base_patch16_224'),
    **{f'naflex-{name}': dict(case, img_size=None, pos_embed_grid_size=(4, 4)) for name, case in {
        'registers': dict(model_name='naflexvit_base_patch16_gap'),
        'factorized': dict(model_name='naflexvit_base_patch16_parfac_gap'),
        'one-register': dict(model_name='naflexvit_so150m2_patch16_reg1_gap'),
        'pooled-by-attention': dict(model_name='naflexvit_base_patch16_map'),  # which is of the head
        'convolution-cls': dict(model_name='naflexvit_base_patch16_gap', embed_proj_type='conv', class_token=True),
        'rope': dict(model_name='naflexvit_base_patch16_gap', rope_type='axial', pos_embed='none'),
        'rope-mixed': dict(model_name='naflexvit_base_patch16_gap', rope_type='mixed'),
    }.items()},
}


@pytest.fixture(params=CASES)
def case(request):
    return CASES[request.param]


def adapted(case, **kwargs):
    kind = CausalNaFlexViT if case['model_name'].startswith('naflex') else CausalTIMMBackbone
    return kind(**{**SIZES, **case}, **kwargs)


def built(case, **kwargs):
    return evaluated(randomize(adapted(case, **kwargs), std=0.3))


def test_without_causality_it_is_the_parent(case):
    model, images = built(case, causal=False), torch.randn(2, 3, 32, 40 if 'naflex' in case['model_name'] else 32)
    plain = evaluated(TIMMBackbone(**{**SIZES, **case}))
    plain.load_state_dict(model.state_dict(), strict=True)
    assert torch.equal(model(images)[0], plain(images)[0])


@pytest.mark.parametrize('causal', [True, False])
def test_embed_and_predict_are_timm_s_pass_from_the_last_token_before_the_patches(case, causal):
    model, images = built(case, causal=causal), torch.randn(2, 3, 32, 32)
    extra = model.timm_model.num_prefix_tokens
    z = model.embed(images)
    assert z.shape == (2, 16 + min(1, extra), 16) and model.num_extra_tokens == min(1, extra)
    torch.testing.assert_close(model.predict(z, (32, 32)), model(images)[0][:, max(0, extra - 1):], atol=1e-5, rtol=0)
    if hasattr(model.timm_model, 'patch_embed'):
        assert torch.equal(z[:, -16:].flatten(), model.timm_model.patch_embed(images).flatten())  # no position
    rolled = model.embed(images.roll(-8, dims=3))[:, -16:].unflatten(1, (4, 4))  # patches one column to the left
    torch.testing.assert_close(rolled, z[:, -16:].unflatten(1, (4, 4)).roll(-1, 2), atol=1e-6, rtol=0)
    if extra:
        token = model.stem.cls_token if getattr(model.stem, 'reg_token', None) is None else model.stem.reg_token
        assert torch.equal(z[0, :1], token[0, -1:])


def test_later_patches_change_no_earlier_output(case):
    model, images = built(case), torch.randn(2, 3, 32, 32)
    bidirectional = built(case, causal=False)
    bidirectional.load_state_dict(model.state_dict())
    z = model.embed(images)
    t = 7
    changed = torch.cat([z[:, :t], torch.randn_like(z[:, t:])], dim=1)
    before, after = (model.predict(tokens, (32, 32)) for tokens in (z, changed))
    torch.testing.assert_close(before[:, :t], after[:, :t], atol=1e-6, rtol=0)
    assert (before[:, t:] - after[:, t:]).abs().amax(-1).min() > 1e-3
    assert (bidirectional.predict(z, (32, 32)) - bidirectional.predict(changed, (32, 32)))[:, :t].abs().max() > 1e-3


def test_loss_is_nepa_s_and_reaches_every_parameter(case):
    model, images = NEPA(built(case)), torch.randn(2, 3, 32, 32, requires_grad=True)
    z, z_hat = model.backbone.embed(images), model.backbone(images)[0]
    z_hat = z_hat[:, z_hat.shape[1] - z.shape[1]:]
    result = model(images, mode='loss')
    expected = -torch.cosine_similarity(z_hat[:, :-1], z[:, 1:], dim=-1).mean()
    assert result['loss'].item() == pytest.approx(expected.item(), abs=1e-5)
    result['loss'].backward()
    assert not [name for name, parameter in model.named_parameters() if parameter.requires_grad and parameter.grad is None]
    assert not images.grad[:, :, 24:, 24:].any() and images.grad[:, :, :24].any()


@pytest.mark.parametrize('name', ['vit-registers', 'eva02', 'dinov3', *(name for name in CASES if name.startswith('naflex'))])
def test_other_sizes(name):
    model, images = built(CASES[name]), torch.randn(2, 3, 24, 40)
    expected = model(images)[0][:, max(0, model.timm_model.num_prefix_tokens - 1):]
    torch.testing.assert_close(model.predict(model.embed(images), (24, 40)), expected, atol=1e-5, rtol=0)


def test_out_types():
    images = torch.randn(2, 3, 24, 40)
    for name in ('vit-registers', 'eva02'):
        raw = built(CASES[name], causal=False)
        tokens = raw(images)[0]
        patches = tokens[:, raw.timm_model.num_prefix_tokens:]
        grid = patches.reshape(2, 3, 5, 16).permute(0, 3, 1, 2)
        expected = dict(cls_token=tokens[:, 0], avg_featmap=patches.mean(1), featmap=grid)
        for out_type, value in expected.items():
            model = evaluated(CausalTIMMBackbone(**SIZES, **CASES[name], causal=False, out_type=out_type))
            model.load_state_dict(raw.state_dict())
            torch.testing.assert_close(model(images)[0], value, atol=1e-6, rtol=0)
    with pytest.raises(ConfigError, match=r"'last_token' is unknown \| out_type"):
        CausalTIMMBackbone(**SIZES, **CASES['vit'], out_type='last_token')


def test_a_pretraining_checkpoint_starts_the_parent_and_timm(tmp_path):
    model = NEPA(built(CASES['eva02']))
    torch.save(dict(state_dict=model.state_dict()), tmp_path / 'epoch_1.pth')
    init = dict(type='Pretrained', checkpoint=str(tmp_path / 'epoch_1.pth'), prefix='backbone.')
    plain = TIMMBackbone(**SIZES, **CASES['eva02'], init_cfg=init)
    plain.init_weights()
    for key, value in model.backbone.state_dict().items():
        assert torch.equal(plain.state_dict()[key], value), key
    weights = {name.removeprefix('backbone.timm_model.'): value for name, value in model.state_dict().items()}
    model = timm.create_model('eva02_tiny_patch14_224', num_classes=0, **SIZES, dynamic_img_size=True)
    model.load_state_dict(weights, strict=True)


def test_depths_for_layer_wise_decay():
    model = built(CASES['vit-registers'])
    depths = {name: model.get_layer_depth(f'backbone.{name}', 'backbone.') for name, _ in model.named_parameters()}
    stem = ('cls_token', 'reg_token', 'pos_embed', 'patch_embed.proj.weight')
    assert {depths[f'timm_model.{name}'] for name in stem} == {(0, 4)}
    assert depths['timm_model.blocks.0.attn.qkv.weight'] == (1, 4) and depths['timm_model.blocks.1.norm1.weight'] == (2, 4)
    assert depths['timm_model.norm.weight'] == (3, 4) == model.get_layer_depth('head.fc.weight', 'backbone.')
    model = built(CASES['naflex-registers'])
    depths = {name: model.get_layer_depth(f'backbone.{name}', 'backbone.') for name, _ in model.named_parameters()}
    assert depths['timm_model.embeds.proj.weight'] == (0, 4) and depths['timm_model.blocks.1.norm1.weight'] == (2, 4)


@pytest.mark.parametrize('kwargs, message', [
    (dict(model_name='resnet18'), r"the attention of timm's ResNet takes no is_causal \| model_name='resnet18'"),
    (dict(**SIZES, model_name='beit_base_patch16_224'), "timm's Beit takes no is_causal"),
    (dict(**SIZES, model_name='vit_tiny_patch16_224', features_only=True, out_indices=[1]), 'takes no is_causal'),
    (dict(**SIZES, model_name='vit_tiny_patch16_224', out_indices=[0, 1]), r'\[0, 1\] is not for CausalTIMMBackbone.* \| '
                                                                           r'out_indices'),
    (dict(**SIZES, model_name='vit_tiny_patch16_224', patch_drop_rate=0.5), 'patch_drop_rate > 0'),
    (dict(**SIZES, model_name='eva02_tiny_patch14_224', patch_drop_rate=0.5), 'patch_drop_rate > 0'),
    (dict(**SIZES, model_name='deit_tiny_distilled_patch16_224'), 'does more than embedding, blocks and norm'),
    (dict(model_name='vit_tiny_r_s16_p8_224', img_size=64, depth=1), 'patches share pixels'),
])
def test_other_models_are_refused_in_one_line(kwargs, message):
    with pytest.raises(ConfigError, match=message) as error:
        CausalTIMMBackbone(**kwargs)
    assert '\n' not in str(error.value)


def test_each_adapter_names_the_other():
    with pytest.raises(ConfigError, match='VisionTransformer is no NaFlexVit .* set nepa_mm.CausalTIMMBackbone'):
        CausalNaFlexViT(**SIZES, **CASES['vit'])
    with pytest.raises(ConfigError, match="timm's NaFlexVit takes no is_causal .* set nepa_mm.CausalNaFlexViT"):
        CausalTIMMBackbone(**{**SIZES, **CASES['naflex-registers']})


def test_a_model_that_says_it_is_causal_and_is_not(monkeypatch):
    from timm.models.vision_transformer import Block
    forward = Block.forward
    monkeypatch.setattr(Block, 'forward', lambda self, x, attn_mask=None, is_causal=False: forward(self, x))
    with pytest.raises(ConfigError, match='outputs depend on later patches although causal=True'):
        CausalTIMMBackbone(**SIZES, **CASES['vit'])
    CausalTIMMBackbone(**SIZES, **CASES['vit'], causal=False)


def test_weights_that_are_no_numbers(monkeypatch):
    from timm.models.vision_transformer import VisionTransformer
    monkeypatch.setattr(VisionTransformer, 'init_weights', lambda self, *args, **kwargs: torch.nn.init.constant_(
        self.norm.weight, float('nan')))
    with pytest.raises(ConfigError, match='outputs are not finite'):
        CausalTIMMBackbone(**SIZES, **CASES['vit'])
