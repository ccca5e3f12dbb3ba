import math

import pytest
import torch

from nepa_mm.models import SIGReg


def value(sample, **kwargs):
    torch.manual_seed(1)
    return SIGReg(**kwargs)(None, sample[None])['sigreg_loss'].item()


def expected(deviation, mean=0.):
    """The statistic of a normal distribution, by numerical integration of its definition."""
    t = torch.linspace(-5, 5, 20001, dtype=torch.float64)
    normal = torch.exp(-t.square() / 2)
    spread = torch.exp(-(deviation * t).square() / 2)
    squared = (spread * torch.cos(mean * t) - normal).square() + (spread * torch.sin(mean * t)).square()
    return torch.trapezoid(squared * normal, t).item()


def test_closed_form_of_the_reference():
    """The integral over all t of Gaussians, which the test's own integration must meet."""
    closed = math.sqrt(2 * math.pi) * (1 / math.sqrt(2 * 4 + 1) - 2 / math.sqrt(4 + 2) + 1 / math.sqrt(3))
    assert expected(2.) == pytest.approx(closed, rel=1e-5)


@pytest.mark.parametrize('size', [4, 64])
def test_standard_normal_has_zero_in_expectation_for_samples_of_any_size(size):
    generator = torch.Generator().manual_seed(0)
    values = torch.tensor([value(torch.randn(size, 3, generator=generator), num_projections=16) for _ in range(400)])
    assert abs(values.mean()) < 4 * values.std() / len(values)**0.5  # the source's has 1 - 1 / sqrt(3) of sqrt(2 pi) over N
    assert values.std() > 0


@pytest.mark.parametrize('deviation, mean', [(0.5, 0.), (2., 0.), (1., 1.)])
def test_known_values_of_other_normal_distributions(deviation, mean):
    sample = deviation * torch.randn(200_000, 1, generator=torch.Generator().manual_seed(0)) + mean
    assert value(sample, num_points=65, num_projections=1) == pytest.approx(expected(deviation, mean), rel=0.02)
    assert value(sample, num_projections=1) == pytest.approx(expected(deviation, mean), rel=0.03)  # few points are enough


def test_grows_with_anisotropy_and_is_greatest_when_embeddings_collapse():
    sample = torch.randn(4000, 16, generator=torch.Generator().manual_seed(0))
    values = []
    for stretch in (1., 2., 4.):
        scales = torch.ones(16)
        scales[0] = stretch
        values.append(value(sample * scales / scales.square().mean().sqrt(), num_projections=64))  # the variance stays 16 in all
    assert abs(values[0]) < 1e-3 < values[1] < values[2] < expected(0.)
    assert value(torch.zeros(100, 16)) == pytest.approx(expected(0.), rel=0.01)


def test_gradient_pulls_a_shrunken_sample_apart():
    sample = (0.1 * torch.randn(1, 500, 4, generator=torch.Generator().manual_seed(0))).requires_grad_()
    torch.manual_seed(0)
    SIGReg()(None, sample)['sigreg_loss'].backward()
    assert (sample.grad * sample).sum() < 0  # a step against it makes the sample larger


def test_directions_are_drawn_anew_and_weight_is_a_factor():
    sample = torch.randn(1, 50, 4)
    loss = SIGReg()
    assert loss(None, sample)['sigreg_loss'] != loss(None, sample)['sigreg_loss']
    torch.manual_seed(1)
    weighted = SIGReg(loss_weight=0.5)(None, sample)['sigreg_loss'].item()
    assert weighted == pytest.approx(0.5 * value(sample[0]))
    assert not loss.state_dict()
