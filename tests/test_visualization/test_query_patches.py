import pytest
import torch

from nepa_mm import NEPAViT
from nepa_mm.visualization import attention_weights, draw_query_patches, prediction_similarity
from tiny import TINY, randomize


def tiny(**kwargs):
    return randomize(NEPAViT(**TINY, **kwargs)).eval()


@pytest.mark.parametrize('kwargs', [dict(), dict(causal=False), dict(rope=None), dict(with_cls_token=False), dict(qk_norm=None)])
@pytest.mark.parametrize('layer', [0, -1])
def test_weights_times_values_equal_the_fast_path(kwargs, layer):
    model, x, seen = tiny(**kwargs), torch.randn(2, 3, 28, 28), {}
    attn = model.layers[layer].attn
    attn.register_forward_hook(lambda module, args, out: seen.update(tokens=args[0], out=out))
    weights = attention_weights(model, x, layer)
    torch.testing.assert_close(weights.sum(-1), torch.ones_like(weights[..., 0]))
    values = attn.qkv(seen['tokens']).chunk(3, -1)[2].unflatten(-1, (2, 8)).transpose(1, 2)
    torch.testing.assert_close(attn.proj((weights @ values).transpose(1, 2).flatten(2)), seen['out'], atol=1e-5, rtol=1e-5)
    assert bool(weights[..., 0, 1:].any()) != model.causal


def test_similarity_is_the_cosine_of_prediction_and_embedding():
    model, x = tiny(), torch.randn(2, 3, 28, 21)
    similarity = prediction_similarity(model, x)
    assert similarity.shape == (2, 12, 12)
    expected = torch.cosine_similarity(model(x)[0][1, 1 + 4], model.embed(x)[1, 1 + 7], dim=0)
    assert similarity[1, 4, 7].item() == pytest.approx(expected.item(), abs=1e-5)


def test_figure_greys_what_the_query_cannot_see(tmp_path):
    figure = draw_query_patches(tiny(), torch.rand(2, 3, 28, 28) * 2 - 1, [(1, 2), (3, 0)])
    figure.savefig(tmp_path / 'a.png')
    attended = figure.axes[1].images[1].get_array()  # first image, first query: the attention map
    assert attended.mask.flat[1 * 4 + 2 + 1:].all() and not attended.mask.flat[:1 * 4 + 2 + 1].any()
