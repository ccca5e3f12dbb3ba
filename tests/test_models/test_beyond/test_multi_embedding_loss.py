import math

import pytest
import torch
import torch.nn.functional as F

from nepa_mm import NextEmbeddingLoss
from nepa_mm.errors import ConfigError
from nepa_mm.models import MultiEmbeddingLoss


@pytest.fixture
def pair():
    generator = torch.Generator().manual_seed(0)
    return torch.randn(3, 6, 8, generator=generator), torch.randn(3, 6, 8, generator=generator)


@pytest.mark.parametrize('weight, stop_grad', [(1., True), (0.5, False)])
def test_one_prediction_by_cosine_is_next_embedding_loss_to_the_bit(pair, weight, stop_grad):
    found = []
    for loss in (MultiEmbeddingLoss(8, stop_grad=stop_grad, loss_weight=weight),
                 NextEmbeddingLoss(stop_grad=stop_grad, loss_weight=weight)):
        p, z = (x.clone().requires_grad_() for x in pair)
        assert not list(loss.parameters())
        result = loss(p, z)
        result['loss'].backward()
        found.append((result, p.grad, z.grad))
    (one, p_one, z_one), (other, p_other, z_other) = found
    assert one.keys() == other.keys() and all(torch.equal(one[key], other[key]) for key in other)
    assert torch.equal(p_one, p_other)
    assert (z_one is None and z_other is None) if stop_grad else torch.equal(z_one, z_other)


def test_k_predictions_are_a_mean_over_distances_each_over_the_positions_that_have_one(pair):
    """Written with loops; later predictions through maps that are no longer the identity."""
    loss = MultiEmbeddingLoss(8, num_predictions=3)
    for i, layer in enumerate(loss.later):
        torch.nn.init.normal_(layer.weight, generator=torch.Generator().manual_seed(i))
    prediction, target = pair
    means = []
    for k in (1, 2, 3):
        predicted = prediction if k == 1 else loss.later[k - 2](prediction)
        cosines = [torch.cosine_similarity(predicted[b, t], target[b, t + k], dim=0) for b in range(3) for t in range(6 - k)]
        means.append(-sum(cosines) / len(cosines))
    assert loss(prediction, target)['loss'].item() == pytest.approx(sum(means).item() / 3, abs=1e-6)
    assert loss(prediction, target)['cosine'].item() == pytest.approx(-means[0].item(), abs=1e-6)


def test_later_predictions_start_as_the_next_one(pair):
    prediction, target = pair
    loss = MultiEmbeddingLoss(8, num_predictions=2, distance='mse')
    expected = (F.mse_loss(prediction[:, :-1], target[:, 1:]) + F.mse_loss(prediction[:, :-2], target[:, 2:])) / 2
    assert loss(prediction, target)['loss'].item() == pytest.approx(expected.item(), rel=1e-6)


def test_infonce_is_cross_entropy_on_the_diagonal_of_raw_dot_products(pair):
    prediction, target = pair
    terms = []
    for b in range(3):
        logits = prediction[b, :-1] @ target[b, 1:].T
        terms += [logits[t].logsumexp(0) - logits[t, t] for t in range(5)]
    found = MultiEmbeddingLoss(8, distance='infonce')(prediction, target)['loss']
    assert found.item() == pytest.approx((sum(terms) / len(terms)).item(), rel=1e-6)


def test_known_values_of_infonce():
    """Predictions that tell nothing find the right one of 5 by chance; exact and large ones always."""
    target = torch.eye(6)[None]
    assert MultiEmbeddingLoss(6, distance='infonce')(torch.zeros(1, 6, 6), target)['loss'].item() == pytest.approx(math.log(5))
    exact = 100 * target.roll(-1, 1)
    assert MultiEmbeddingLoss(6, distance='infonce')(exact, target)['loss'].item() == pytest.approx(0, abs=1e-6)


def test_all_embeddings_can_be_predicted_and_no_more(pair):
    loss = MultiEmbeddingLoss(8, num_predictions=5, distance='infonce')
    loss(*pair)['loss'].backward()
    assert all(layer.weight.grad is not None for layer in loss.later)
    with pytest.raises(ConfigError, match=r'an image of 6 tokens has no 6 next ones \| model.head.num_predictions \| '
                                          'give at most 5'):
        MultiEmbeddingLoss(8, num_predictions=6)(*pair)


@pytest.mark.parametrize('distance', ['cosine', 'mse', 'infonce'])
def test_targets_are_constants_unless_told_otherwise_and_numbers_are_float32(pair, distance):
    p, z = (x.bfloat16().requires_grad_() for x in pair)
    result = MultiEmbeddingLoss(8, distance=distance)(p, z)
    result['loss'].backward()
    assert result['loss'].dtype == torch.float32 and z.grad is None and p.grad is not None
    MultiEmbeddingLoss(8, distance=distance, stop_grad=False)(p, z)['loss'].backward()
    assert z.grad is not None


def test_autocast_leaves_infonce_in_float32(pair):
    with torch.autocast('cpu', dtype=torch.bfloat16):
        low = MultiEmbeddingLoss(8, distance='infonce')(*pair)['loss']
    assert torch.equal(low, MultiEmbeddingLoss(8, distance='infonce')(*pair)['loss'])


def test_bad_settings_are_refused():
    with pytest.raises(ConfigError, match=r"'l2' is unknown \| distance \| choose from \['cosine', 'mse', 'infonce'\]"):
        MultiEmbeddingLoss(8, distance='l2')
    with pytest.raises(ConfigError, match=r'0 embeddings cannot be predicted \| num_predictions'):
        MultiEmbeddingLoss(8, num_predictions=0)
    with pytest.raises(ConfigError, match=r'1.5 embeddings cannot be predicted'):
        MultiEmbeddingLoss(8, num_predictions=1.5)
