import pytest
import torch

from nepa_mm import NEPA, NEPAViT, NextEmbeddingLoss
from nepa_mm.errors import ConfigError
from tiny import TINY, randomize


def nepa(head=None, mask_ratio=0., **kwargs):
    backbone = NEPAViT(**{**TINY, 'rope': dict(rescale=None), **kwargs})
    return randomize(NEPA(backbone, head=head, mask_ratio=mask_ratio))


def test_loss_is_the_mean_negative_cosine_of_prediction_and_next_embedding():
    model, x = nepa(), torch.randn(2, 3, 28, 28)
    z, z_hat = model.backbone.embed(x), model.backbone(x)[0]
    expected = -torch.cosine_similarity(z_hat[:, :-1], z[:, 1:], dim=-1).mean()
    result = model(x, mode='loss')
    assert result['loss'].item() == pytest.approx(expected.item(), abs=1e-6)
    assert result['cosine'].item() == pytest.approx(-expected.item(), abs=1e-6)
    assert set(result) == {'loss', 'cosine', 'collapse'}


@pytest.mark.parametrize('cls, terms', [(True, 16), (False, 15)])
def test_cls_token_predicts_the_first_patch(cls, terms):
    """The loss is a mean over all 16 patches with [CLS], over all but the first without."""
    model, x = nepa(with_cls_token=cls), torch.randn(1, 3, 28, 28)
    z, z_hat = model.backbone.embed(x)[0], model.backbone(x)[0][0]
    patches, predictions = z[-16:], z_hat[:-1]
    assert len(predictions) == terms
    cosines = [torch.cosine_similarity(p, t, dim=0).item() for p, t in zip(predictions, patches[-terms:])]
    assert model.loss(x)['loss'].item() == pytest.approx(-sum(cosines) / terms, abs=1e-6)


def test_target_path_carries_gradient_only_without_stop_grad():
    """The last patch is a target but no input of any prediction: gradient reaches its pixels by the target path alone."""
    for stop_grad in (True, False):
        x = torch.randn(2, 3, 28, 28, requires_grad=True)
        nepa(NextEmbeddingLoss(stop_grad=stop_grad)).loss(x)['loss'].backward()
        assert bool(x.grad[:, :, 21:, 21:].any()) != stop_grad
        assert x.grad[:, :, :21].any()


def test_position_embedding_is_not_in_the_target():
    model, x = nepa(with_cls_token=False, use_abs_pos_embed=True), torch.randn(2, 3, 28, 28)
    before = model.backbone.embed(x)
    model.backbone.pos_embed.data += 1
    assert torch.equal(model.backbone.embed(x), before)


def test_mask_hides_the_share_from_the_input_and_not_from_the_target():
    model = nepa(mask_ratio=0.4)
    x = torch.randn(8, 3, 28, 28)
    z = model.backbone.embed(x)
    hidden = (model.mask(z) == model.mask_token).all(-1)
    assert hidden.sum(1).tolist() == [round(0.4 * 16)] * 8 and not hidden[:, 0].any()  # [CLS] stays
    assert len({tuple(row.tolist()) for row in hidden}) > 1  # each image its own
    seen = {}
    model.head.register_forward_hook(lambda module, args, out: seen.update(prediction=args[0], target=args[1]))
    model.loss(x)['loss'].backward()
    assert torch.equal(seen['target'], z) and not torch.allclose(seen['prediction'], model.backbone(x)[0])
    assert model.mask_token.grad.any()
    assert not hasattr(nepa(), 'mask_token')


def test_mask_ratio_out_of_range():
    with pytest.raises(ConfigError, match=r'1.0 is not in \[0, 1\).* \| mask_ratio'):
        nepa(mask_ratio=1.)


@pytest.mark.parametrize('causal', [True, False])
@pytest.mark.parametrize('shift', [True, False])
def test_ablations_of_table_1a_are_settings(shift, causal):
    model, x = nepa(NextEmbeddingLoss(shift=shift), causal=causal), torch.randn(2, 3, 28, 28)
    other = nepa(causal=not causal)
    other.load_state_dict(model.state_dict())
    z, z_hat = model.backbone.embed(x), model.backbone(x)[0]
    assert not torch.allclose(z_hat, other.backbone(x)[0])
    pairs = (z_hat[:, :-1], z[:, 1:]) if shift else (z_hat, z)
    assert model.loss(x)['loss'].item() == pytest.approx(-torch.cosine_similarity(*pairs, dim=-1).mean().item(), abs=1e-6)


def test_one_token_has_no_next():
    with pytest.raises(ConfigError, match='image of 1 token has no next one'):
        nepa(with_cls_token=False).loss(torch.randn(2, 3, 7, 7))
