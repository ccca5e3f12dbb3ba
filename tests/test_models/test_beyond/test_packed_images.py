"""Images of different sizes in one batch: each gets what it gets alone."""
import numpy as np
import pytest
import torch
from forks import run
from PIL import Image

from nepa_mm import NEPA, NEPAViT, get_model
from nepa_mm.errors import ConfigError
from nepa_mm.models import PackedDataPreprocessor, PackedNEPA, PackedNEPAViT
from tiny import ROOT, TINY, randomize

SIZES = ((28, 28), (14, 49), (30, 19), (56, 21), (28, 28))  # with whole patches and without
PIXELS = dict(mean=[10., 20., 30.], std=[50., 60., 70.], to_rgb=True)
VARIANTS = dict(release=dict(), paper=dict(with_cls_token=False, use_abs_pos_embed=True, act='silu', gated_mlp=True),
                affine=dict(qk_norm='affine', rope=dict(rescale=2., jitter=1.5)), plain=dict(rope=None, qk_norm=None))


def images(sizes=SIZES):
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(3, *size, generator=generator) for size in sizes]


def backbone(kind=PackedNEPAViT, **kwargs):
    torch.manual_seed(0)
    return randomize(kind(**TINY, **kwargs), 0.2)


def gradients(model):
    return {name: parameter.grad for name, parameter in model.named_parameters() if parameter.requires_grad}


@pytest.mark.parametrize('training', [True, False])
@pytest.mark.parametrize('settings', [
    *(dict(backbone=variant) for variant in VARIANTS.values()), dict(backbone=dict(causal=False)),
    dict(mask_ratio=0.4, backbone=dict(rope=dict(rescale=None))), dict(target='normalised'), dict(backbone=dict(frozen_stages=2)),
    dict(backbone=dict(with_cp=True)),
    dict(head=dict(type='nepa_mm.MultiEmbeddingLoss', embed_dims=16, num_predictions=2, distance='infonce'))],
    ids=[*VARIANTS, 'bidirectional', 'masked', 'normalised', 'frozen', 'checkpointed', 'infonce'])
def test_the_loss_is_the_mean_over_the_images_one_by_one(settings, training):
    """By NEPA and NEPAViT, with the same random numbers: RoPE's factors, or hidden patches, are drawn for each image."""
    settings = dict(settings)
    sizes = settings.pop('backbone', {})
    packed, single = PackedNEPA(backbone(**sizes), **settings), NEPA(backbone(NEPAViT, **sizes), **settings)
    if 'mask_ratio' in settings:
        single.mask_token = packed.mask_token = torch.nn.Parameter(torch.randn(1, 1, 16))
    packed.train(training), single.train(training)
    torch.manual_seed(1)
    found = packed.loss(images())
    torch.manual_seed(1)
    expected = [single.loss(image[None]) for image in images()]
    for name in ('loss', 'cosine'):
        assert found[name].item() == pytest.approx(sum(losses[name].item() for losses in expected) / len(SIZES), abs=1e-6)
    assert 'collapse' not in found
    found['loss'].backward()
    packed = gradients(packed)
    single.zero_grad()
    sum(losses['loss'] / len(SIZES) for losses in expected).backward()
    single = gradients(single)
    assert packed.keys() == single.keys()
    for name, gradient in single.items():
        if gradient is not None:
            assert (packed[name] - gradient).abs().max() <= 1e-5 * gradient.abs().max(), name


@pytest.mark.parametrize('causal', [True, False])
@pytest.mark.parametrize('out_type', ['raw', 'last_token', 'avg_featmap', 'featmap', 'padded_featmap'])
@pytest.mark.parametrize('variant', VARIANTS)
def test_features_are_those_of_each_image_alone(variant, out_type, causal):
    settings = dict(VARIANTS[variant], out_type=out_type, causal=causal, out_indices=(0, 2), final_norm='all')
    packed, single = backbone(**settings), backbone(NEPAViT, **settings)
    packed.train(False), single.train(False)
    with torch.no_grad():
        found, alone = packed(images()), [single(image[None]) for image in images()]
    assert len(found) == 2
    for i, output in enumerate(found):
        if out_type in ('last_token', 'avg_featmap'):
            assert output.shape == (5, 16)
            output = output.split(1)
        for image, expected in zip(output, alone):
            torch.testing.assert_close(image, expected[i], rtol=1e-5, atol=1e-5)


def test_feature_maps_come_with_cls_of_each_image():
    settings = dict(out_type='featmap', causal=False, output_cls_token=True)
    packed, single = backbone(**settings), backbone(NEPAViT, **settings)
    packed.train(False), single.train(False)
    with torch.no_grad():
        found, alone = packed(images())[0], [single(image[None])[0] for image in images()]
    for pair, expected in zip(found, alone, strict=True):
        torch.testing.assert_close(pair, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize('causal', [True, False])
def test_no_image_sees_another(causal):
    model, batch = backbone(causal=causal), images()
    model.train(False)
    before, = model(batch)
    batch[1] = batch[1] + 1
    after, = model(batch)
    assert [torch.equal(*pair) for pair in zip(before, after)] == [True, False, True, True, True]


def test_images_of_one_size_have_the_loss_of_a_batch():
    model, batch = PackedNEPA(backbone()), images([(28, 35)] * 4)
    model.train(False)
    torch.testing.assert_close(model.loss(batch)['loss'], model.loss(torch.stack(batch))['loss'], rtol=0, atol=1e-6)


def test_a_batch_of_one_size_goes_the_way_of_nepa_to_the_bit():
    batch, found = torch.stack(images([(28, 35)] * 4)), []
    for model in (PackedNEPA(backbone()), NEPA(backbone(NEPAViT))):
        torch.manual_seed(1)
        found.append(model.loss(batch))
        found[-1]['loss'].backward()
        found[-1].update(gradients(model), features=model.extract_feat(batch)[0])
    assert found[0].keys() == found[1].keys() and 'collapse' in found[0]
    assert all(torch.equal(found[0][name], value) for name, value in found[1].items())


def test_weights_are_those_of_nepa_vit_both_ways():
    packed, single = backbone(use_abs_pos_embed=True), backbone(NEPAViT, use_abs_pos_embed=True)
    single.load_state_dict(packed.state_dict())
    packed.load_state_dict(single.state_dict())


def test_a_list_of_images_stays_one_through_the_preprocessor():
    pixels = [torch.randint(256, (3, *size), dtype=torch.uint8) for size in SIZES]
    preprocessor, samples = PackedDataPreprocessor(**PIXELS), list('abcde')
    found = preprocessor(dict(inputs=pixels, data_samples=samples), training=True)
    assert found['data_samples'] == samples and len(found['inputs']) == 5
    for image, bgr in zip(found['inputs'], pixels):
        mean, std = (torch.tensor(PIXELS[name])[:, None, None] for name in ('mean', 'std'))
        torch.testing.assert_close(image, (bgr.flip(0) - mean) / std)
    whole = torch.stack([pixels[0], pixels[4]])
    torch.testing.assert_close(preprocessor(dict(inputs=whole))['inputs'], torch.stack([found['inputs'][i] for i in (0, 4)]))


@pytest.mark.parametrize('build, message', [
    (lambda: PackedNEPAViT(**TINY, compile=True), 'True does not go with packed images | model.backbone.compile | leave it out'),
    (lambda: PackedNEPAViT(**TINY, drop_path_rate=0.1), '0.1 does not go with packed images | model.backbone.drop_path_rate'),
    (lambda: PackedNEPA(NEPAViT(**TINY)), 'NEPAViT takes no images of different sizes | model.backbone.type | '
                                          'set nepa_mm.PackedNEPAViT'),
    (lambda: PackedNEPA(backbone()).loss([torch.randn(3, 28, 28), torch.randn(3, 5, 28)]),
     'an image of 5x28 pixels is smaller than one patch (7)')])
def test_what_cannot_be_packed(build, message):
    with pytest.raises(ConfigError) as error:
        build()
    assert message in str(error.value)


def test_the_recipe_trains_on_images_of_many_shapes(tmp_path):
    """By the command, at small size; and its checkpoint takes images of any."""
    (tmp_path / 'images').mkdir()
    for i, size in enumerate(((60, 90), (80, 40), (50, 50), (100, 30), (64, 96), (40, 41))):
        Image.fromarray(np.random.default_rng(i).integers(256, size=(*size, 3), dtype='u1')).save(tmp_path / f'images/{i}.jpg')
    recipe = 'configs/pretrain/nepa_vit-base-p14_8xb512-amp-coslr-1600e_in1k-packed.py'
    options = ['model.backbone.arch=tiny', 'train_dataloader.batch_size=3', 'train_dataloader.num_workers=0',
               'train_dataloader.persistent_workers=False', 'train_dataloader.dataset.data_root=.', 'param_scheduler.warmup=0',
               'train_dataloader.dataset.data_prefix=images', 'train_dataloader.dataset.pipeline.1.scale=(56,56)',
               'param_scheduler.end=1', 'train_cfg.max_epochs=1', 'auto_scale_lr.base_batch_size=3',
               'default_hooks.logger.interval=1']
    said = run(tmp_path, ROOT / 'tools/train.py', ROOT / recipe, '--work-dir', 'run', '--no-pin-memory', '--cfg-options',
               *options)
    assert '[1][2/2]' in said and 'cosine: ' in said and 'collapse: ' not in said
    model = get_model(str(tmp_path / 'run/epoch_1.pth'))
    assert [tuple(tokens.shape) for tokens in model.extract_feat(images())[0]] == [
        (1, 1 + -(-height // 14) * -(-width // 14), 192) for height, width in SIZES]
