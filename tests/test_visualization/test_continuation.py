import numpy as np
import pytest
import torch

from nepa_mm import NEPA, NEPAViT
from nepa_mm.errors import ConfigError
from nepa_mm.models import CausalTIMMBackbone, CausalVisionTransformer
from nepa_mm.visualization import PatchBank, continuations, draw_continuations, roll_forward
from nepa_mm.visualization.continuation import BEFORE, BEST, ONE_STEP, ROLLED, cut, joined
from nepa_mm.visualization.patch_maps import normalised_pixels
from tiny import TINY, randomize

PIXELS = dict(mean=[127.5] * 3, std=[127.5] * 3, to_rgb=True)
VIT = dict(embed_dims=16, num_layers=3, num_heads=2, feedforward_channels=32)
BACKBONES = dict(
    nepa=lambda: NEPAViT(**TINY), paper=lambda: NEPAViT(**TINY, with_cls_token=False, use_abs_pos_embed=True, act='silu'),
    mmpretrain=lambda: CausalVisionTransformer(arch=VIT, img_size=28, patch_size=7),
    timm=lambda: CausalTIMMBackbone('vit_tiny_patch16_224', img_size=28, patch_size=7, embed_dim=16, depth=3, num_heads=2))


def nepa(name='nepa', **kwargs):
    torch.manual_seed(0)
    return NEPA(randomize(BACKBONES[name]()), data_preprocessor=PIXELS, **kwargs).eval()


def images(count=2, size=(28, 28), seed=0):
    return torch.randint(256, (count, 3, *size), dtype=torch.uint8, generator=torch.Generator().manual_seed(seed))


def embedded(model, pixels):
    with torch.no_grad():
        return model.backbone.embed(normalised_pixels(model, pixels))


@pytest.mark.parametrize('name', BACKBONES)
def test_the_first_token_rolled_forward_is_the_one_of_predict(name):
    """So that rolling forward one token at a time, from real tokens, is all of ``predict``."""
    model, pixels = nepa(name), images()
    z = embedded(model, pixels)
    with torch.no_grad():
        whole = model.backbone.predict(z, (28, 28))
    for given in range(1, z.shape[1]):
        rolled = roll_forward(model.backbone, z, (28, 28), given, 1.)
        assert rolled.shape == (2, z.shape[1] - given, 16)
        torch.testing.assert_close(rolled[:, 0], whole[:, given - 1], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize('name', BACKBONES)
def test_each_token_is_predicted_from_the_scaled_predictions_before_it(name):
    model, lengths = nepa(name), torch.tensor([[2.], [5.]])
    z, given = embedded(model, images()), 9
    rolled = roll_forward(model.backbone, z, (28, 28), given, lengths)
    fed = rolled / rolled.norm(dim=-1, keepdim=True) * lengths[:, None]
    with torch.no_grad():
        again = model.backbone.predict(torch.cat([z[:, :given], fed], dim=1), (28, 28))
    torch.testing.assert_close(again[:, given - 1:-1], rolled, rtol=1e-4, atol=1e-4)


def test_a_continuation_knows_the_given_rows_alone():
    model, z = nepa(), embedded(nepa(), images())
    other = z.clone()
    other[:, 9:] = torch.randn(other[:, 9:].shape)
    rolled = [roll_forward(model.backbone, tokens, (28, 28), 9, 3.) for tokens in (z, other)]
    assert torch.equal(*rolled)
    other[:, 8] += 1
    assert not torch.equal(rolled[0], roll_forward(model.backbone, other, (28, 28), 9, 3.))


def test_nearest_patches_are_those_of_a_search_one_by_one():
    model, pixels = nepa(), images(20, (30, 22))  # a grid of 5 x 4, whose last patches stick out; more than are embedded at once
    bank = PatchBank.of(model, pixels)
    assert bank.patches.shape == (400, 7, 7, 3) and bank.images.tolist() == [i // 20 for i in range(400)]
    np.testing.assert_array_equal(bank.patches[20 * 3 + 4 * 1 + 2], pixels[3, :, 7:14, 14:21].permute(1, 2, 0))
    z = torch.cat([embedded(model, image[None])[0, 1:] for image in pixels])  # one by one
    torch.testing.assert_close(bank.embeddings, z)
    predictions = torch.randn(7, 16)
    for without in (None, 3):
        allowed = [n for n in range(400) if n // 20 != without]
        expected = [max(allowed, key=lambda n: torch.cosine_similarity(p, z[n], dim=0).item()) for p in predictions]
        assert bank.nearest(predictions, without).tolist() == expected
        assert bank.length(without) == pytest.approx(np.mean([z[n].norm().item() for n in allowed]), rel=1e-5)
    own = 20 * 5 + 7
    assert bank.nearest(z[own:own + 1] * 3).tolist() == [own] and bank.nearest(z[own:own + 1], without=5)[0] // 20 != 5


def test_patches_join_to_the_image_that_was_cut():
    pictures = images(2, (30, 22)).permute(0, 2, 3, 1).numpy()
    patches = cut(pictures, (7, 7))
    assert patches.shape == (2, 20, 7, 7, 3)
    np.testing.assert_array_equal(joined(patches[1], (5, 4), (30, 22)), pictures[1])


def test_an_image_is_continued_by_patches_of_others():
    model, pixels = nepa(), images(3)
    bank = PatchBank.of(model, pixels)
    found = continuations(model, pixels, 2, bank, [0, 1, None])
    z = embedded(model, pixels)
    with torch.no_grad():
        z_hat = model.backbone.predict(z, (28, 28))
    real = cut(pixels.permute(0, 2, 3, 1).numpy(), (7, 7))
    for b, without in enumerate((0, 1, None)):
        patches, cosines = found[b].patches, found[b].cosines
        for way in (ROLLED, ONE_STEP, BEST):
            np.testing.assert_array_equal(patches[way][:8], real[b, :8])
        np.testing.assert_array_equal(patches[ONE_STEP][8:], bank.patches[bank.nearest(z_hat[b, 8:-1], without)])
        rolled = roll_forward(model.backbone, z[b:b + 1], (28, 28), 9, bank.length(without))
        np.testing.assert_array_equal(patches[ROLLED][8:], bank.patches[bank.nearest(rolled[0], without)])
        assert cosines[ROLLED] == pytest.approx(torch.cosine_similarity(rolled[0], z[b, 9:], dim=-1).mean().item(), abs=1e-5)
        assert cosines[ONE_STEP] == pytest.approx(
            np.mean([torch.cosine_similarity(z_hat[b, t], z[b, t + 1], dim=0).item() for t in range(8, 16)]), abs=1e-5)
        assert cosines[BEFORE] == pytest.approx(
            np.mean([torch.cosine_similarity(z[b, t], z[b, t + 1], dim=0).item() for t in range(8, 16)]), abs=1e-5)
        assert (patches[BEST] == real[b]).all() == (without is None)  # its own patches were left out


def test_the_figure_shows_what_was_found():
    model, pixels = nepa(), images(2, (28, 21))
    bank = PatchBank.of(model, pixels)
    figure = draw_continuations(model, pixels, 1, bank, [0, 1], ['a.png', 'b.png'])
    found = continuations(model, pixels, 1, bank, [0, 1])
    shown = [axis.images[0].get_array() for axis in figure.axes]
    assert len(shown) == 10
    for b in range(2):
        picture = pixels[b].permute(1, 2, 0).numpy()
        np.testing.assert_array_equal(shown[5 * b], picture)
        np.testing.assert_array_equal(shown[5 * b + 1][:7], picture[:7])
        assert (shown[5 * b + 1][7:] == 217).all()
        for panel, patches in zip(shown[5 * b + 2:], found[b].patches.values()):
            np.testing.assert_array_equal(panel, joined(patches, (4, 3), (28, 21)))
    assert 'no pixel is generated' in figure.get_supxlabel() and 'of 24 of a bank' in figure.get_supxlabel()


@pytest.mark.parametrize('model, rows, message', [
    (lambda: nepa(target='normalised'), 2, 'it does not predict the embedding of the next patch from those before it'),
    (lambda: NEPA(NEPAViT(**TINY, causal=False), data_preprocessor=PIXELS), 2, 'it does not predict'),
    (nepa, 0, '0 of 4 rows of patches | rows | give 1 to 3'),
    (nepa, 4, '4 of 4 rows of patches | rows | give 1 to 3'),
])
def test_what_cannot_be_continued(model, rows, message):
    model, pixels = model(), images()
    with pytest.raises(ConfigError) as error:
        continuations(model, pixels, rows, PatchBank.of(model, pixels), [0, 1])
    assert message in str(error.value)
