import math

import pytest
import torch

from nepa_mm import NextEmbeddingLoss
from nepa_mm.errors import ConfigError
from nepa_mm.models.next_embedding_loss import mean_pairwise_cosine

EAST, NORTH, WEST = [1., 0.], [0., 1.], [-1., 0.]


def tokens(*vectors):
    return torch.tensor([vectors])


def test_known_values_of_each_distance():
    # prediction 0 against target 1: right; prediction 1 against target 2: at a right angle; the last one counts for nothing
    prediction, target = tokens([2., 0.], [0., 3.], [9., 9.]), tokens(WEST, [5., 0.], EAST)
    assert NextEmbeddingLoss()(prediction, target)['loss'].item() == pytest.approx(-(1 + 0) / 2)
    assert NextEmbeddingLoss('l2')(prediction, target)['loss'].item() == pytest.approx((0 + 2) / 2)
    # smooth-l1 of the differences (-1, 1): 0.5 each
    assert NextEmbeddingLoss('smooth_l1')(prediction, target)['loss'].item() == pytest.approx((0 + 1) / 2)
    assert NextEmbeddingLoss('l2')(prediction, target)['cosine'].item() == pytest.approx(0.5)


def test_without_shift_positions_meet_themselves():
    x = torch.randn(2, 5, 8)
    assert NextEmbeddingLoss(shift=False)(x, x)['loss'].item() == pytest.approx(-1)
    assert NextEmbeddingLoss(shift=True)(x, x)['loss'].item() > -0.9
    assert NextEmbeddingLoss(shift=True)(torch.roll(x, -1, 1), x)['loss'].item() == pytest.approx(-1)


def test_equals_the_formula_written_with_loops():
    p, z = torch.randn(2, 4, 3), torch.randn(2, 4, 3)
    cosines = []
    for b in range(2):
        for t in range(3):
            a, c = p[b, t].tolist(), z[b, t + 1].tolist()
            dot = sum(i * j for i, j in zip(a, c))
            cosines.append(dot / math.sqrt(sum(i * i for i in a)) / math.sqrt(sum(j * j for j in c)))
    assert NextEmbeddingLoss()(p, z)['loss'].item() == pytest.approx(-sum(cosines) / 6, abs=1e-6)


@pytest.mark.parametrize('stop_grad', [True, False])
def test_gradient_reaches_the_target_only_without_stop_grad(stop_grad):
    p, z = torch.randn(2, 4, 3, requires_grad=True), torch.randn(2, 4, 3, requires_grad=True)
    NextEmbeddingLoss(stop_grad=stop_grad)(p, z)['loss'].backward()
    assert p.grad[:, :-1].abs().min() > 0 and not p.grad[:, -1].any()
    assert (z.grad is None) == stop_grad


def test_collapse_is_one_when_all_images_agree_and_the_mean_of_pairs_otherwise():
    same = torch.nn.functional.normalize(torch.randn(1, 5, 8), dim=-1).expand(4, -1, -1)
    assert mean_pairwise_cosine(same).item() == pytest.approx(1, abs=1e-6)
    # three images, one position: pairs (E, N) 0, (E, W) -1, (N, W) 0
    assert mean_pairwise_cosine(torch.tensor([[EAST], [NORTH], [WEST]])).item() == pytest.approx(-1 / 3)
    assert 'collapse' not in NextEmbeddingLoss()(torch.randn(1, 3, 4), torch.randn(1, 3, 4))


def test_loss_is_float32_for_low_precision_inputs():
    p, z = torch.randn(2, 4, 64), torch.randn(2, 4, 64)
    half = NextEmbeddingLoss()(p.bfloat16(), z.bfloat16())['loss']
    assert half.dtype == torch.float32
    assert half.item() == pytest.approx(NextEmbeddingLoss()(p.bfloat16().float(), z.bfloat16().float())['loss'].item(), abs=1e-7)


def test_unknown_distance_names_the_choices():
    with pytest.raises(ConfigError, match=r"'cos' is unknown \| distance \| choose from \['cosine', 'l2', 'smooth_l1'\]"):
        NextEmbeddingLoss('cos')


def test_weight_is_of_the_loss_alone():
    p, z = torch.randn(2, 4, 3), torch.randn(2, 4, 3)
    plain, weighted = NextEmbeddingLoss()(p, z), NextEmbeddingLoss(loss_weight=0.25)(p, z)
    assert weighted['loss'] == 0.25 * plain['loss']
    assert weighted['cosine'] == plain['cosine'] and weighted['collapse'] == plain['collapse']
