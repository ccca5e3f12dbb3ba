import numpy as np
import pytest
import torch

from nepa_mm import NEPA, NEPAViT
from nepa_mm.errors import ConfigError
from nepa_mm.visualization import PatchMaps, draw_query_patches
from nepa_mm.visualization.query_patches import attention_panels, chosen, default_queries
from tiny import TINY, randomize

PIXELS = dict(mean=[127.5] * 3, std=[127.5] * 3, to_rgb=True)


def nepa(**kwargs):
    return NEPA(randomize(NEPAViT(**TINY, **kwargs)), data_preprocessor=PIXELS).eval()


def images(count=2):
    return torch.randint(256, (count, 3, 28, 28), dtype=torch.uint8)


def panels(figure):
    """Axes that show something."""
    return [axis for axis in figure.axes if axis.images]


def test_a_figure_shows_the_maps_and_greys_what_the_query_cannot_see(tmp_path):
    model, pixels = nepa(), images()
    figure = draw_query_patches(model, pixels, [(1, 2), (3, 0)], layers=1)
    figure.savefig(tmp_path / 'a.png')
    query, attended, similar = panels(figure)[:3]  # first image, first query
    maps, token, patch = PatchMaps(model, pixels), 1 + 4 + 2, 4 + 2
    np.testing.assert_array_equal(query.images[0].get_array(), pixels[0].permute(1, 2, 0))
    veil = np.asarray(query.images[1].get_array())[..., 3].flatten()
    assert (veil > 0).tolist() == [False] * (patch + 1) + [True] * (15 - patch)
    shown = attended.images[1].get_array()
    assert shown.mask.flat[patch + 1:].all() and not shown.mask.flat[:patch + 1].any()
    paid = maps.attention(1)[0, :, token, 1:].mean(0)[:patch + 1]
    np.testing.assert_allclose(shown.data.flat[:patch + 1], paid / paid.max(), rtol=1e-5)
    np.testing.assert_allclose(similar.images[0].get_array().flatten(), maps.similarity()[0, token], rtol=1e-5)
    # The query and, dashed, the patch after it
    assert [box.get_xy() for box in similar.patches] == [(21, 7), (14, 7)]


def test_bidirectional_models_see_all():
    figure = draw_query_patches(nepa(causal=False), images(1), [(1, 2)])
    query, attended, similar = panels(figure)
    assert len(query.images) == 1 and not np.ma.getmaskarray(attended.images[1].get_array()).any()
    assert len(similar.patches) == 1 and not figure.get_supxlabel()
    assert similar.patches[0].get_path_effects()  # a rim, or red would vanish on red


def test_the_last_patch_has_no_next():
    figure = draw_query_patches(nepa(with_cls_token=False), images(1), [(3, 3)])
    assert len(panels(figure)[2].patches) == 1


@pytest.mark.parametrize('layers, heads, titles', [
    (-1, 'mean', ['layer 2, mean of heads']),
    ('mean', 'mean', ['mean of layers, mean of heads']),
    ([0, -1], [1], ['layer 0, head 1', 'layer 2, head 1']),
    (1, 'all', ['layer 1, head 0', 'layer 1, head 1']),
    ('mean', 0, ['mean of layers, head 0']),
])
def test_layers_and_heads(layers, heads, titles):
    model, pixels = nepa(), images()
    maps = PatchMaps(model, pixels)
    shown = attention_panels(maps, layers, heads, [4, 9])
    assert [title for title, _ in shown] == titles
    whole = torch.stack([maps.attention(layer) for layer in range(3)])[..., [4, 9], :]  # [layers, B, H, Q, L]
    whole = whole.mean(0, keepdim=True) if layers == 'mean' else whole[[layers] if isinstance(layers, int) else layers]
    whole = whole.mean(2, keepdim=True) if heads == 'mean' else whole if heads == 'all' else whole[:, :, np.atleast_1d(heads)]
    torch.testing.assert_close(torch.stack([weights for _, weights in shown]), whole.transpose(1, 2).flatten(0, 1))
    assert len(panels(draw_query_patches(model, pixels, [(1, 1)], layers, heads))) == 2 * (2 + len(titles))


@pytest.mark.parametrize('index', [3, -4, 1.5, 'last'])
def test_a_layer_that_is_not_there(index):
    with pytest.raises(ConfigError, match=r".* is not there: this model has 3 \| layers \| choose from -3 to 2, 'mean' or 'all'"):
        chosen('layers', [index], 3)


def test_triplets_flow_into_columns():
    figure = draw_query_patches(nepa(), images(3), [(0, 1), (2, 2)], columns=4, names=['a.png', 'b.png', 'c.png'])
    titles = [axis.get_title(loc='left') for axis in panels(figure)]
    assert [title.split('\n') for title in titles if title] == [
        ['a.png', 'query 0, 1'], ['', 'query 2, 2'], ['b.png', 'query 0, 1'], ['', 'query 2, 2'], ['c.png', 'query 0, 1'],
        ['', 'query 2, 2']]
    assert len({round(axis.get_position().y0, 6) for axis in panels(figure)}) == 2


@pytest.mark.parametrize('grid', [(1, 1), (2, 3), (8, 8), (16, 16), (37, 5)])
def test_default_queries_are_in_the_grid(grid):
    assert all(0 <= row < grid[0] and 0 <= column < grid[1] for row, column in default_queries(grid))
