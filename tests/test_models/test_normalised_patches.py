import pytest
import torch
from mmpretrain.models import MAEPretrainHead

from nepa_mm import NEPA, NEPAViT
from nepa_mm.errors import ConfigError
from nepa_mm.models.normalised_patches import normalised_patches
from tiny import TINY, randomize


def test_equal_the_pixels_that_mae_predicts():
    images = torch.randn(2, 3, 28, 42)[..., :28]
    mae = MAEPretrainHead(loss=dict(type='PixelReconstructionLoss', criterion='L2'), norm_pix=True, patch_size=7)
    expected = mae.unpatchify(mae.construct_target(images))
    torch.testing.assert_close(normalised_patches(images, 7), expected, atol=1e-6, rtol=0)


def test_each_patch_has_mean_zero_and_deviation_one_whatever_its_brightness_and_contrast():
    images = torch.randn(1, 3, 12, 8)
    patches = normalised_patches(images, 4)
    assert patches[..., :4, 4:].mean().item() == pytest.approx(0, abs=1e-6)
    assert patches[..., :4, 4:].std().item() == pytest.approx(1, abs=1e-5)
    torch.testing.assert_close(normalised_patches(3 * images + 5, 4), patches, atol=1e-5, rtol=0)
    assert normalised_patches(torch.ones(1, 3, 8, 8), 4).abs().max() < 1e-3  # a flat patch has no contrast to divide by


def test_in_bfloat16_a_patch_of_little_contrast_is_as_in_float32():
    images = (torch.randint(200, 206, (1, 3, 8, 8), generator=torch.Generator().manual_seed(0)) - 127.5) / 127.5
    found, expected = normalised_patches(images.bfloat16(), 8), normalised_patches(images.bfloat16().float(), 8)
    assert found.dtype == torch.bfloat16 and torch.equal(found, expected.bfloat16()) and expected.mean().abs() < 1e-5


def test_border_that_fills_no_patch_is_repeated():
    images = torch.randn(1, 3, 9, 10)
    padded = torch.nn.functional.pad(images, (0, 2, 0, 3), mode='replicate')
    assert torch.equal(normalised_patches(images, 4), normalised_patches(padded, 4))


def model(**kwargs):
    torch.manual_seed(0)
    return randomize(NEPA(NEPAViT(**{**TINY, 'rope': dict(rescale=None)}), **kwargs))


def test_nepa_predicts_the_embedding_of_the_normalised_patch():
    x, nepa = torch.randn(2, 3, 28, 28), model(target='normalised')
    z_hat, target = nepa.backbone(x)[0], nepa.backbone.embed(normalised_patches(x, nepa.backbone.patch_size))
    expected = -torch.cosine_similarity(z_hat[:, :-1], target[:, 1:], dim=-1).mean()
    assert nepa.loss(x)['loss'].item() == pytest.approx(expected.item(), abs=1e-6)
    assert nepa.loss(x)['loss'] != model().loss(x)['loss']
    assert model().state_dict().keys() == nepa.state_dict().keys()  # nothing to load or to throw away


def test_unknown_target_and_backbone_without_square_patches_are_refused():
    with pytest.raises(ConfigError, match=r"'pixels' is unknown \| target \| choose from"):
        model(target='pixels')
    backbone = dict(type='nepa_mm.CausalVisionTransformer', arch='deit-t', img_size=32, patch_size=16, out_type='raw',
                    final_norm=True)
    with pytest.raises(ConfigError, match=r'needs patch_size, which CausalVisionTransformer does not have \| target'):
        NEPA(backbone, target='normalised')
