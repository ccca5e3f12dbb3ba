import math

import pytest
import torch
from timm.layers import RotaryEmbeddingDinoV3

from nepa_mm.errors import ConfigError
from nepa_mm.models import RoPE2D


def table(rope, grid, extent=None):
    return rope(grid, extent or grid, torch.device('cpu'))


def test_known_angles_of_a_2x1_grid():
    # Centres at y = -0.5 and 0.5, x = 0; head_dim 8: periods 1 and 100 ** 0.5 = 10
    sines = table(RoPE2D(8, rescale=None).eval(), (2, 1))[:, :8]
    expected = [math.sin(2 * math.pi * -0.5 / period) for period in (1, 10)] + [0, 0]
    assert sines[0].tolist() == pytest.approx(expected * 2, abs=1e-6)
    assert sines[1].tolist() == pytest.approx([-value for value in expected] * 2, abs=1e-6)


@pytest.mark.parametrize('grid', [(4, 4), (3, 7)])
def test_equals_timm(grid):
    ours = table(RoPE2D(16).eval(), grid)
    theirs = RotaryEmbeddingDinoV3(16, temperature=100., rescale_coords=2.).eval().get_embed(list(grid))
    torch.testing.assert_close(ours, theirs, atol=2e-6, rtol=0)


def test_coordinates_refer_to_the_image_not_to_its_padding():
    # 1.5 patches in height: the centres lie at 0.5 and 1.5 of 1.5, that is -1/3 and 1
    padded = table(RoPE2D(4, rescale=None).eval(), (2, 1), (1.5, 1))
    assert padded[:, 0].tolist() == pytest.approx([math.sin(2 * math.pi * -1 / 3), math.sin(2 * math.pi)], abs=1e-6)


def test_rescale_draws_one_log_uniform_factor_for_all_coordinates_while_training():
    rope = RoPE2D(4, theta=100., rescale=2.).train()
    unscaled = torch.tensor([[-0.5, -0.5], [-0.5, 0.5], [0.5, -0.5], [0.5, 0.5]])
    logs = []
    for _ in range(400):
        ratio = rope.augment(unscaled) / unscaled
        assert ratio.max() - ratio.min() < 1e-6
        logs.append(ratio[0, 0].log().item())
    assert min(logs) >= -math.log(2) - 1e-6 and max(logs) <= math.log(2) + 1e-6
    assert abs(sum(logs) / 400) < 0.08 and max(logs) > 0.6 > -0.6 > min(logs)
    assert torch.equal(table(rope.eval(), (2, 2)), table(rope, (2, 2)))


def test_shift_and_jitter_move_each_axis_by_itself():
    coords = torch.rand(50, 2) + 0.5
    moved = RoPE2D(4, rescale=None, shift=0.3).augment(coords) - coords
    assert torch.allclose(moved, moved[:1].expand_as(moved), atol=1e-6) and moved.abs().max() <= 0.3
    assert moved[0, 0] != moved[0, 1]
    ratio = RoPE2D(4, rescale=None, jitter=1.5).augment(coords) / coords
    assert torch.allclose(ratio, ratio[:1].expand_as(ratio)) and 1 / 1.5 <= ratio.min() and ratio.max() <= 1.5
    assert ratio[0, 0] != ratio[0, 1]


def test_head_dim_must_divide_by_four():
    with pytest.raises(ConfigError, match='= 6 is not a multiple of 4'):
        RoPE2D(6)


@pytest.mark.parametrize('settings, message', [
    (dict(rescale=0.5), r'0.5 is less than 1 \| rope.rescale \| give 1 or more, or None'),
    (dict(jitter=0.9), r'0.9 is less than 1 \| rope.jitter'),
    (dict(shift=-0.1), r'-0.1 is less than 0 \| rope.shift'),
    (dict(theta=0), r'0 is not positive \| rope.theta')])
def test_numbers_that_no_table_can_be_made_of_are_refused_before_a_step(settings, message):
    with pytest.raises(ConfigError, match=message):
        RoPE2D(8, **settings)
