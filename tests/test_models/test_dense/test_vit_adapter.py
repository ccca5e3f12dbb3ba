"""The adapter starts from the plain backbone, looks where it says, and learns over a frozen one too."""
import pytest
import torch
import torch.nn.functional as F
from mixes import importable
from mmengine.config import ConfigDict
from mmengine.registry import MODELS, DefaultScope
from mmengine.structures import PixelData
from mmseg.structures import SegDataSample

from nepa_mm.errors import ConfigError
from tiny import TINY, randomize

if not importable('mmcv.ops'):
    pytest.skip('ViTAdapter takes the deformable attention of mmcv.ops', allow_module_level=True)

NECK = dict(type='nepa_mm.ViTAdapter', embed_dims=16, num_heads=2, prior_channels=8, norm_cfg=dict(type='BN'))
HEAD = dict(type='UPerHead', in_channels=[16] * 4, in_index=[0, 1, 2, 3], pool_scales=(1, 2), channels=8, num_classes=3,
            dropout_ratio=0, norm_cfg=dict(type='BN'), loss_decode=dict(type='CrossEntropyLoss'))


def build(neck=NECK, layers=6, random=True, **kwargs):
    torch.manual_seed(0)
    backbone = dict(type='nepa_mm.NEPAViT', **{**TINY, 'arch': {**TINY['arch'], 'num_layers': layers}},
                    **{'causal': False, 'out_type': 'padded_featmap', **kwargs})
    with DefaultScope.overwrite_default_scope('mmseg'):
        model = MODELS.build(ConfigDict(
            type='nepa_mm.AdaptedEncoderDecoder', backbone=backbone, neck=neck, decode_head=HEAD, test_cfg=dict(mode='whole')))
    return randomize(model) if random else model


@pytest.mark.parametrize('size', [(64, 64), (50, 77)])
def test_four_maps_at_quarters_to_thirty_seconds_of_whole_patches(size):
    model = build().eval()
    height, width = (7 * -(-side // 7) for side in size)
    with torch.no_grad():
        maps = model.extract_feat(torch.randn(2, 3, *size))
        assert [tuple(m.shape) for m in maps] == [(2, 16, -(-height // s), -(-width // s)) for s in (4, 8, 16, 32)]
        assert model.encode_decode(torch.randn(2, 3, *size), [{}, {}]).shape == (2, 3, *size)


def test_images_of_other_channels():
    model = build(dict(NECK, in_channels=4), in_channels=4).eval()
    assert model.encode_decode(torch.randn(1, 4, 64, 64), [{}]).shape == (1, 3, 64, 64)


def test_a_factor_of_zero_leaves_the_backbone_as_it_is():
    """Without prior, extractors and norms the maps are the backbone's own, after each group of blocks."""
    model = build().eval()
    neck, vit, image = model.neck, model.backbone, torch.randn(1, 3, 64, 64)
    for part in (neck.prior, neck.extractors, neck.enlarge):
        for parameter in part.parameters():
            parameter.data.zero_()
    neck.level_embed.data.zero_()
    neck.norms = torch.nn.ModuleList(torch.nn.Identity() for _ in range(4))
    with torch.no_grad():
        changed = neck(image, vit)
        for injector in neck.injectors:
            injector.gamma.zero_()
        found = neck(image, vit)
        vit.out_indices = [1, 3, 4, 5]  # six blocks in groups of 2, 2, 1 and 1
        for m, other, expected in zip(found, changed, vit(image), strict=True):
            expected = F.interpolate(expected, m.shape[-2:], mode='bilinear')
            assert torch.allclose(m, expected, atol=1e-5) and not torch.allclose(other, expected, atol=1e-2)
    assert all(not injector.gamma.any() for injector in build(random=False).neck.injectors)


def test_deformable_attention_reads_its_points_by_bilinear_interpolation():
    """Each query in turn: per head and level four offsets from its centre, weighed by a softmax over both."""
    attend = build().neck.injectors[0].attend.eval()
    own, grids = (2, 3), [(4, 6), (2, 3), (1, 2)]
    queries, values = torch.randn(1, 6, 16), torch.randn(1, 24 + 6 + 2, 16)
    inner = attend.attention
    with torch.no_grad():
        found = attend(queries, [own], values, grids)
        normed = F.layer_norm(queries, (16, ), attend.query_norm.weight, attend.query_norm.bias, 1e-6)[0]
        levels = inner.value_proj(F.layer_norm(
            values, (16, ), attend.value_norm.weight, attend.value_norm.bias, 1e-6))[0].split([24, 6, 2])
        for n in range(6):
            offsets = inner.sampling_offsets(normed[n]).view(2, 3, 4, 2)
            weights = inner.attention_weights(normed[n]).view(2, 12).softmax(-1).view(2, 3, 4)
            centre = torch.tensor([(n % 3 + 0.5) / 3, (n // 3 + 0.5) / 2])
            heads = []
            for head in range(2):
                total = 0
                for level, (rows, columns) in enumerate(grids):
                    cells = levels[level].view(rows, columns, 2, 4)[:, :, head].permute(2, 0, 1)[None]
                    where = centre + offsets[head, level] / torch.tensor([columns, rows])
                    read = F.grid_sample(cells, 2 * where[None, None] - 1, align_corners=False)[0, :, 0]  # [4, points]
                    total = total + (read * weights[head, level]).sum(-1)
                heads.append(total)
            assert torch.allclose(found[0, n], inner.output_proj(torch.cat(heads)), atol=1e-4)


@pytest.mark.parametrize('frozen_stages', [-1, 6])
def test_gradients_reach_the_adapter_always_and_the_backbone_where_it_trains(frozen_stages):
    model = build(frozen_stages=frozen_stages).train()
    meta = dict(img_shape=(64, 64), ori_shape=(64, 64), pad_shape=(64, 64))
    labels = [SegDataSample(metainfo=meta, gt_sem_seg=PixelData(data=torch.randint(0, 3, (1, 64, 64)))) for _ in range(2)]
    optimizer = torch.optim.Adam([parameter for parameter in model.parameters() if parameter.requires_grad])
    before = model.neck.prior.stem[0].conv.weight.clone()
    model.loss(torch.randn(2, 3, 64, 64), labels)['decode.loss_ce'].backward()
    optimizer.step()
    assert not torch.equal(model.neck.prior.stem[0].conv.weight, before)
    for name, parameter in model.named_parameters():
        if name.startswith('backbone.') and frozen_stages == 6:
            assert parameter.grad is None, name
        elif name.startswith(('backbone.', 'neck.')):
            assert parameter.grad is not None and parameter.grad.any(), name


@pytest.mark.parametrize('neck, kwargs, message', [
    (None, dict(), r"^None is no adapter \| neck.type \| set 'nepa_mm.ViTAdapter'"),
    (dict(NECK, embed_dims=8), dict(), r'^8 differs from the width of the backbone, 16 \| neck.embed_dims'),
    (NECK, dict(in_channels=4), r'^3 differs from the channels of the backbone, 4 \| neck.in_channels'),
    (NECK, dict(layers=3), r'^3 blocks are fewer than the 4 groups of ViTAdapter \| backbone.arch'),
])
def test_what_does_not_go_together(neck, kwargs, message):
    with pytest.raises(ConfigError, match=message):
        build(neck, **kwargs)
