import pytest
import torch
from mmengine.registry import DefaultScope, init_default_scope
from mmpretrain.datasets import SimMIMMaskGenerator
from mmpretrain.models import HOGGenerator
from mmpretrain.registry import MODELS
from mmpretrain.structures import DataSample

from nepa_mm import NEPAViT
from nepa_mm.errors import CheckpointError, ConfigError
from nepa_mm.models import BEiTNEPAViT, MaskFeatNEPAViT, SimMIMNEPAViT
from tiny import TINY, assert_learns, randomize


def simmim(kind=SimMIMNEPAViT, **kwargs):
    return randomize(kind(**{**TINY, 'qk_norm': 'affine', **kwargs})).eval()


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


def test_a_setting_that_the_weights_do_not_show_is_compared_too(tmp_path):
    """The config in the checkpoint says with which activation the encoder was trained."""
    weights = {f'backbone.{name}': value for name, value in simmim(BEiTNEPAViT).state_dict().items()}
    settings = {**TINY, 'qk_norm': 'affine'}
    cfg = f"model = {dict(type='BEiT', backbone=dict(type='nepa_mm.BEiTNEPAViT', act='relu', **settings))}"
    torch.save(dict(state_dict=weights, meta=dict(cfg=cfg)), tmp_path / 'beit.pth')
    init = dict(type='Pretrained', checkpoint=str(tmp_path / 'beit.pth'))
    NEPAViT(**settings, causal=False, act='relu', init_cfg=init, allow_unmatched=['mask_token']).init_weights()
    with pytest.raises(CheckpointError, match="act='relu'"):
        NEPAViT(**settings, causal=False, init_cfg=init, allow_unmatched=['mask_token']).init_weights()


def test_beit_and_maskfeat_have_all_tokens():
    """The same weights and mask, in the forms that each asks for."""
    model, images, mask = simmim(), torch.randn(2, 3, 28, 28), masks()
    maps, = model(images, mask)
    for kind, given in [(BEiTNEPAViT, mask), (MaskFeatNEPAViT, mask.flatten(1).bool())]:
        other = simmim(kind, out_indices=[0, 2])
        other.load_state_dict(model.state_dict())
        whole, hidden = other(images), other(images, given)
        assert [output.shape for output in whole] == [(2, 17, 16)] * 2
        last = hidden if kind is MaskFeatNEPAViT else hidden[1]
        torch.testing.assert_close(last[:, 1:].mT.unflatten(2, (4, 4)), maps)
        assert (last - whole[1]).abs().max() > 1e-3


def test_hog_of_patches_of_14():
    assert HOGGenerator(pool=7)(torch.rand(1, 3, 224, 224)).shape == (1, 16 * 16, 3 * 9 * 2 * 2)
