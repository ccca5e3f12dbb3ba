import pytest
import torch
from mmpretrain.models import TIMMBackbone

from nepa_mm import NEPA
from nepa_mm.errors import ConfigError
from nepa_mm.models import CausalNaFlexViT, CausalTIMMBackbone
from tiny import evaluated, randomize

SIZES = dict(pos_embed_grid_size=(4, 4), patch_size=8, embed_dim=16, depth=2, num_heads=2)
CASES = {
    'learned': dict(model_name='naflexvit_base_patch16_gap'),
    'factorized': dict(model_name='naflexvit_base_patch16_parfac_gap'),
    'one register': dict(model_name='naflexvit_so150m2_patch16_reg1_gap'),
    'pooled by attention': dict(model_name='naflexvit_base_patch16_map'),  # which is of the head
    'convolution, [CLS]': dict(model_name='naflexvit_base_patch16_gap', embed_proj_type='conv', class_token=True),
    'rope': dict(model_name='naflexvit_base_patch16_gap', rope_type='axial', pos_embed='none'),
    'rope-mixed': dict(model_name='naflexvit_base_patch16_gap', rope_type='mixed'),
}


@pytest.fixture(params=CASES)
def case(request):
    return CASES[request.param]


def built(case, **kwargs):
    return evaluated(randomize(CausalNaFlexViT(**SIZES, **case, **kwargs), std=0.3))


def test_without_causality_it_is_the_parent(case):
    model, images = built(case, causal=False), torch.randn(2, 3, 32, 40)
    plain = evaluated(TIMMBackbone(**SIZES, **case))
    plain.load_state_dict(model.state_dict(), strict=True)
    assert torch.equal(model(images)[0], plain(images)[0])


@pytest.mark.parametrize('causal', [True, False])
def test_embed_and_predict_are_timm_s_pass_from_the_last_token_before_the_patches(case, causal):
    """timm's own pass is made causal by a mask, ours by is_causal."""
    model, images = built(case, causal=causal), torch.randn(2, 3, 32, 40)
    ahead = model.timm_model.num_prefix_tokens
    extra = min(1, ahead)
    z = model.embed(images)
    assert z.shape == (2, 20 + extra, 16) and model.num_extra_tokens == extra
    torch.testing.assert_close(model.predict(z, (32, 40)), model(images)[0][:, ahead - extra:], atol=1e-5, rtol=0)
    moved = torch.cat([images[..., 8:], images[..., :8]], dim=-1)  # patches one column to the left: embeddings have no position
    columns = z[:, extra:].unflatten(1, (4, 5))
    torch.testing.assert_close(model.embed(moved)[:, extra:].unflatten(1, (4, 5)), columns.roll(-1, 2), atol=1e-6, rtol=0)


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
    depths = {name: model.backbone.get_layer_depth(f'backbone.{name}', 'backbone.')
              for name, _ in model.backbone.named_parameters()}
    assert depths['timm_model.embeds.proj.weight'] == (0, 4) and depths['timm_model.blocks.1.norm1.weight'] == (2, 4)


def test_other_models_are_refused_in_one_line():
    with pytest.raises(ConfigError, match='VisionTransformer is no NaFlexVit .* set nepa_mm.CausalTIMMBackbone'):
        CausalNaFlexViT(model_name='vit_tiny_patch16_224', img_size=32, patch_size=8, embed_dim=16, depth=1, num_heads=2)
    with pytest.raises(ConfigError, match="timm's NaFlexVit takes no is_causal .* set nepa_mm.CausalNaFlexViT"):
        CausalTIMMBackbone(**SIZES, **CASES['learned'])
