import base64
import json
import re
import zlib

import numpy as np
import pytest
import torch
from PIL import Image

from nepa_mm import NEPA, NEPAViT
from nepa_mm.errors import ConfigError
from nepa_mm.visualization import PatchMaps
from nepa_mm.visualization.explorer import Explorer, quantized_attention, quantized_similarity, spread
from nepa_mm.visualization.query_patches import ATTENTION
from nepa_mm.visualization.read_image import pixels_of
from tiny import ROOT, TINY, randomize

PIXELS = dict(mean=[127.5] * 3, std=[127.5] * 3, to_rgb=True)
SIZE = (28, 28)


def nepa(**kwargs):
    return NEPA(randomize(NEPAViT(**{**TINY, **kwargs})), data_preprocessor=PIXELS).eval()


def noise(side=28, seed=0):
    return Image.fromarray(np.random.default_rng(seed).integers(256, size=(side, side, 3), dtype=np.uint8))


def read(page):
    """What the page says of itself, and its packed bytes by name."""
    about = json.loads(re.search(r'id="about">(.*?)</script>', page, re.DOTALL)[1])
    blocks = dict(re.findall(r'<script type="text/plain" id="([^"]+)">([^<]*)</script>', page))
    return about, {name: zlib.decompress(base64.b64decode(text)) for name, text in blocks.items()}


def attention_in(about, blocks, m, image, layer, head=None):
    """Attention [M, L, 1 + T] that the page holds: to what is before the patches, then to the patches."""
    model = about['models'][m]
    patches = model['grid'][0] * model['grid'][1]
    tokens, content = model['extra'] + patches, blocks[f'{"mean" if head is None else "heads"}-{m}-{image}-{layer}']
    maps = 1 if head is None else model['heads']
    shares = np.frombuffer(content, '<u2', maps * tokens * 2).reshape(maps, tokens, 2) / about['share']
    levels = np.frombuffer(content, np.uint8, offset=shares.size * 2).reshape(maps, tokens, patches) / about['levels']
    return np.concatenate([shares[..., 1:], levels * shares[..., :1]], axis=-1)[head or 0], shares[head or 0, :, 0]


@pytest.mark.parametrize('kwargs', [dict(), dict(causal=False), dict(with_cls_token=False)])
def test_a_page_holds_the_maps_of_the_model(kwargs):
    model, pictures = nepa(**kwargs), [noise(seed=0), noise(seed=1)]
    explorer = Explorer(pictures, ['{{data}}.png', '</script>.png'])
    explorer.add(model, 'one', SIZE)
    explorer.add(nepa(patch_size=14), 'two', SIZE)
    about, blocks = read(explorer.page(float('inf')))
    assert [image['name'] for image in about['images']] == ['{{data}}.png', '</script>.png']
    assert [each['grid'] for each in about['models']] == [[4, 4], [2, 2]] and about['models'][0]['patch'] == [0.25, 0.25]
    assert set(about['models'][0]['with_heads']) == {0, 1, 2}
    maps = PatchMaps(model, pixels_of(pictures[1:], SIZE))
    weights = maps.attention(1)[0].numpy()
    for head in (None, 0, 1):
        expected = weights.mean(0) if head is None else weights[head]
        held, most = attention_in(about, blocks, 0, 1, 1, head)
        held = held if maps.num_extra_tokens else held[:, 1:]
        assert (np.abs(held - expected) <= most[:, None] / 2 / about['levels'] + 1 / about['share']).all()
    cosine = np.frombuffer(blocks['similarity-0-1'], np.int8).reshape(-1, 16) / 127
    np.testing.assert_allclose(cosine, maps.similarity()[0], atol=0.5 / 127 + 1e-6)


def test_numbers_of_known_maps():
    weights = np.array([[[0.5, 0.1, 0.4], [0.1, 0.9, 0.0]]], dtype=np.float32)  # one map, [CLS] and two patches
    shares, levels = quantized_attention(np.concatenate([weights, [[[0, 0, 0]]]], axis=1).astype(np.float32), 1)
    assert shares[0].tolist() == [[26214, 32768], [58982, 6554], [0, 0]] and shares.dtype.str == '<u2'
    assert levels[0].tolist() == [[16, 63], [63, 0], [0, 0]]
    assert quantized_similarity(np.array([-1, -0.5, 0, 1])).tolist() == [-127, -64, 0, 127]


def test_parts_of_the_page_are_read_by_any_locale():
    assert all(path.read_bytes().isascii() for path in (ROOT / 'nepa_mm/visualization/page').iterdir())


def test_a_page_asks_nobody():
    explorer = Explorer([noise()], ['a.png'])
    explorer.add(nepa(), '<b>&', SIZE)
    page = explorer.page(1e7)
    assert not re.search(r'https?:|//cdn|src="(?!data:)|@import|url\(', page) and "default-src 'none'" in page
    assert '<title>&lt;b&gt;&amp;: what NEPA sees</title>' in page and '{{' not in page
    about, _ = read(page)
    assert about['colours']['attention'][0] == '#440154' and len(about['colours']['attention']) == ATTENTION.N == 256


def test_single_heads_as_far_as_there_is_room():
    explorer = Explorer([noise()], ['a.png'])
    explorer.add(nepa(arch=dict(TINY['arch'], num_layers=5)), 'one', SIZE)
    least, most = len(explorer.page(0)), len(explorer.page(float('inf')))
    assert read(explorer.page(0))[0]['models'][0]['with_heads'] == []
    assert explorer.page(0).count('id="mean-') == 5
    for share, expected in ((0.3, [4]), (0.5, [4, 0]), (0.7, [4, 0, 2])):
        page = explorer.page(least + share * (most - least))
        assert explorer.models[0]['with_heads'] == expected and len(page) <= least + share * (most - least)
    with_heads_left_out = Explorer([noise()], ['a.png'])
    with_heads_left_out.add(nepa(), 'one', SIZE, layers=[0, -1], with_heads=False)
    about, blocks = read(with_heads_left_out.page(float('inf')))
    assert about['models'][0]['layers'] == [0, 2] and sorted(blocks) == ['mean-0-0-0', 'mean-0-0-2', 'similarity-0-0']


def test_order_of_layers():
    assert list(spread(range(12)))[:5] == [11, 0, 6, 3, 9] and sorted(spread(range(12))) == list(range(12))
    assert list(spread([])) == []


def test_a_layer_that_is_not_there():
    with pytest.raises(ConfigError, match=r'3 is not there: this model has 3 \| layers'):
        Explorer([noise()], ['a.png']).add(nepa(), 'one', SIZE, layers=[3])


@pytest.mark.parametrize('arch', ['base', 'large'])
def test_eight_images_of_a_full_size_model_are_below_10_mb(arch):
    torch.manual_seed(0)
    settings = dict(base=dict(num_layers=12, num_heads=12), large=dict(num_layers=24, num_heads=16))[arch]
    # Of what is stored, number and size are those of ViT-B/14 and ViT-L/14; the width is smaller
    arch_settings = dict(embed_dims=settings['num_heads'] * 8, feedforward_channels=32, **settings)
    model = nepa(arch=arch_settings, img_size=224, patch_size=14)
    explorer = Explorer([noise(256)], ['0.png'])
    explorer.add(model, arch, (224, 224), with_heads=arch == 'base')
    explorer.images, explorer.names = explorer.images * 8, [f'{i}.png' for i in range(8)]
    explorer.packed_maps = [explorer.packed_maps[0] * 8]
    page = explorer.page(10e6)
    about, blocks = read(page)
    assert len(page.encode()) < 10e6 and len(about['images']) == 8 and about['models'][0]['grid'] == [16, 16]
    assert sum(name.startswith('mean-') for name in blocks) == 8 * settings['num_layers']
    if arch == 'base':
        assert about['models'][0]['with_heads'][:1] == [11]
