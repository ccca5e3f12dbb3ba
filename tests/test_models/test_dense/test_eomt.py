"""Queries in the last blocks of a NEPAViT give the masks of the formula, learn, and are those of a plain ViT in tests."""
import pytest
import torch
import torch.nn.functional as F
from mixes import importable
from mmengine.config import ConfigDict
from mmengine.logging import MessageHub
from mmengine.registry import MODELS, DefaultScope
from mmengine.structures import PixelData
from mmseg.structures import SegDataSample

from nepa_mm.errors import ConfigError
from nepa_mm.models.block import Block
from tiny import TINY, randomize

if not importable('mmdet.models'):
    pytest.skip('EoMT has the losses of mmdet', allow_module_level=True)

QUERIES = 5
HEAD = dict(
    type='nepa_mm.EoMTHead', embed_dims=16, num_classes=3, num_queries=QUERIES, num_blocks=2,
    loss_cls=dict(type='mmdet.CrossEntropyLoss', reduction='mean', loss_weight=2.0, class_weight=[1.0] * 3 + [0.1]),
    loss_mask=dict(type='mmdet.CrossEntropyLoss', use_sigmoid=True, reduction='mean', loss_weight=5.0),
    loss_dice=dict(type='mmdet.DiceLoss', use_sigmoid=True, activate=True, reduction='mean', naive_dice=True, eps=1.0,
                   loss_weight=5.0),
    train_cfg=dict(
        num_points=64, oversample_ratio=3.0, importance_sample_ratio=0.75, sampler=dict(type='mmdet.MaskPseudoSampler'),
        assigner=dict(type='mmdet.HungarianAssigner', match_costs=[
            dict(type='mmdet.ClassificationCost', weight=2.0),
            dict(type='mmdet.CrossEntropyLossCost', weight=5.0, use_sigmoid=True),
            dict(type='mmdet.DiceCost', weight=5.0, pred_act=True, eps=1.0)])))


def build(head=(), **kwargs):
    torch.manual_seed(0)
    backbone = dict(type='nepa_mm.NEPAViT', **{**TINY, 'arch': {**TINY['arch'], 'num_layers': 4}},
                    **{'causal': False, 'out_type': 'padded_featmap', **kwargs})
    with DefaultScope.overwrite_default_scope('mmseg'):
        model = MODELS.build(ConfigDict(
            type='nepa_mm.EoMT', backbone=backbone, decode_head={**HEAD, **dict(head)}, test_cfg=dict(mode='whole')))
    return randomize(model)


@pytest.fixture
def iteration():
    """Sets how far a training of 80 iterations is."""
    hub = MessageHub.get_current_instance()
    yield lambda done: (hub.update_info('iter', done), hub.update_info('max_iters', 80))
    for name in ('iter', 'max_iters'):
        hub.pop_info(name, None)


def samples(images, size=(30, 30)):
    meta = dict(ori_shape=size, img_shape=size, pad_shape=size)
    return [SegDataSample(metainfo=meta, gt_sem_seg=PixelData(data=torch.randint(0, 3, (1, *size)))) for _ in range(images)]


def written_out(model, image, masked=False):
    """Classes and masks of each prediction for one image, block by block, each query by itself."""
    vit, head = model.backbone, model.decode_head
    rows, columns = vit.grid(image.shape[-2:])
    table = vit.rope_table(image.shape[-2:], image.device, moves=False)
    sin, cos = (F.pad(part, (0, 0, QUERIES + 1, 0), value=value) for part, value in zip(table.chunk(2, -1), (0., 1.)))
    patches, = vit.embed(image)
    for layer in vit.layers[:2]:
        patches = plain_block(layer, patches, sin[QUERIES:], cos[QUERIES:], torch.ones(len(patches), len(patches)).bool())
    x, found = torch.cat([head.queries.weight, patches]), []
    for i in range(3):
        normed = vit.norm(x)
        cells = normed[QUERIES + 1:].T.reshape(1, 16, rows, columns)
        for k in (0, 4):
            grown, _, spread, norm = head.upscale[k:k + 4]
            cells = F.gelu(F.conv_transpose2d(cells, grown.weight, grown.bias, stride=2))
            cells = F.conv2d(cells, spread.weight, padding=1, groups=16)
            cells = F.layer_norm(cells.movedim(1, -1), (16, ), norm.weight, norm.bias, 1e-6).movedim(-1, 1)
        masks = []
        for query in normed[:QUERIES]:
            for linear in (head.mask_embed[0], head.mask_embed[2]):
                query = F.gelu(linear(query))
            masks.append((head.mask_embed[4](query)[:, None, None] * cells[0]).sum(0))
        found.append((head.cls_embed(normed[:QUERIES]), torch.stack(masks)))
        if i < 2:
            sees = torch.ones(len(x), len(x)).bool()
            if masked:
                small = F.interpolate(found[-1][1][None], (rows, columns), mode='bilinear')[0]
                sees[:QUERIES, QUERIES + 1:] = small.flatten(1) > 0
                assert not sees.all() and sees[:QUERIES, QUERIES + 1:].any()
            x = plain_block(vit.layers[2 + i], x, sin, cos, sees)
    return found


def plain_block(layer: Block, x, sin, cos, sees):
    """One block on tokens [L, D], its attention head by head."""
    q, k, v = layer.attn.qkv(layer.ln1(x)).unflatten(-1, (3, 2, 8)).unbind(1)  # [L, H, d]
    turned = []
    for t, norm in ((q, layer.attn.q_norm), (k, layer.attn.k_norm)):
        t = norm(t)
        turned.append(t * cos[:, None] + torch.cat([-t[..., 4:], t[..., :4]], -1) * sin[:, None])
    heads = []
    for h in range(2):
        scores = turned[0][:, h] @ turned[1][:, h].T / 8**0.5
        heads.append(scores.masked_fill(~sees, -torch.inf).softmax(-1) @ v[:, h])
    x = x + layer.ls1(layer.attn.proj(torch.cat(heads, -1)))
    return x + layer.ls2(layer.mlp(layer.ln2(x)))


@pytest.mark.parametrize('size', [(28, 28), (30, 23)])
def test_classes_and_masks_are_those_of_the_formula(size):
    model, image = build().eval(), torch.randn(1, 3, *size)
    with torch.no_grad():
        (classes, masks), = model.extract_feat(image)
        expected = written_out(model, image)[-1]
    assert torch.allclose(classes[0], expected[0], atol=1e-4) and torch.allclose(masks[0], expected[1], atol=1e-3)


def test_no_block_takes_what_the_final_norm_made():
    image, found = torch.randn(1, 3, 28, 28), []
    for settings in (dict(), dict(final_norm='all', out_indices=[0, 1, 2, 3])):
        with torch.no_grad():
            found.append(build(**settings).eval().extract_feat(image)[0])
    assert all(map(torch.equal, *found))


def test_while_training_a_query_sees_the_patches_of_its_mask(iteration):
    iteration(0)
    model, image = build(rope=dict(theta=100., rescale=None)).train(), torch.randn(1, 3, 28, 28)
    with torch.no_grad():
        model.decode_head.upscale[-1].bias.zero_()  # so that masks are of both signs
        model.decode_head.queries.weight.normal_()
        found, expected = model.extract_feat(image), written_out(model, image, masked=True)
        plain = written_out(model, image)
    assert len(found) == 3
    for (classes, masks), (their_classes, their_masks) in zip(found, expected, strict=True):
        assert torch.allclose(classes[0], their_classes, atol=1e-4) and torch.allclose(masks[0], their_masks, atol=1e-3)
    assert not torch.allclose(found[-1][1][0], plain[-1][1], atol=1e-2)  # the masks do something
    iteration(79)
    with torch.no_grad():
        found = model.extract_feat(image)
    assert torch.allclose(found[-1][1][0], plain[-1][1], atol=1e-3)  # and in the end nothing


def test_masks_are_taken_away_block_by_block(iteration):
    head = build().decode_head
    assert head.mask_probability(0) == 1  # outside of a training
    found = []
    for done in (0, 20, 30, 40, 50, 60, 79):
        iteration(done)
        found.append([round(head.mask_probability(block), 3) for block in (0, 1)])
    half = round(0.5**0.9, 3)
    assert found == [[1, 1], [1, 1], [half, 1], [0, 1], [0, half], [0, 0], [0, 0]]
    masks, torch_seed = torch.full((2, 500, 4, 4), -1.), torch.manual_seed(0)
    assert torch_seed and not head.seen(masks, (2, 2), 1.).any() and head.seen(masks, (2, 2), 0.).all()
    assert 0.25 < head.seen(masks, (2, 2), 0.7).float().mean() < 0.35


@pytest.mark.parametrize('frozen_stages', [-1, 4])
def test_losses_reach_queries_always_and_the_backbone_where_it_trains(frozen_stages):
    model = build(frozen_stages=frozen_stages).train()
    model.init_weights()
    losses = model.loss(torch.randn(2, 3, 30, 30), samples(2))
    assert set(losses) == {f'decode.{layer}loss_{name}' for layer in ('', 'd0.', 'd1.') for name in ('cls', 'mask', 'dice')}
    before = model.decode_head.queries.weight.clone()
    optimizer = torch.optim.Adam([parameter for parameter in model.parameters() if parameter.requires_grad])
    sum(losses.values()).backward()
    optimizer.step()
    assert all(torch.isfinite(loss) for loss in losses.values()) and not torch.equal(model.decode_head.queries.weight, before)
    for name, parameter in model.named_parameters():
        if name.startswith('backbone.') and frozen_stages == 4:
            assert parameter.grad is None, name
        else:
            assert parameter.grad is not None and parameter.grad.any(), name


def test_logits_are_sums_over_queries_of_class_times_mask_on_the_padded_image():
    model = build().eval()
    image = torch.randn(1, 3, 30, 30)  # of 35 x 35 whole patches
    with torch.no_grad():
        (classes, masks), = model.extract_feat(image)
        found, = model.predict(image, samples(1))
        grown = F.interpolate(masks, (35, 35), mode='bilinear')[..., :30, :30].sigmoid()
        expected = sum(classes[0].softmax(-1)[q, :3, None, None] * grown[0, q] for q in range(QUERIES))
        assert torch.allclose(found.seg_logits.data, expected, atol=1e-5)
        assert torch.allclose(model(image)[0], expected, atol=1e-5)  # what an export has


def test_an_export_takes_any_number_of_images():
    model, images = build().eval(), torch.randn(2, 3, 28, 28)
    exported = torch.export.export(model, (images, ), dynamic_shapes=({0: torch.export.Dim('batch', max=8)}, )).module()
    images = torch.randn(3, 3, 28, 28)
    with torch.no_grad():
        assert torch.allclose(exported(images), model(images), atol=1e-5)


@pytest.mark.parametrize('head, backbone, message', [
    (dict(), dict(causal=True), r'^True, and patches .* \| backbone.causal'),
    (dict(embed_dims=8), dict(), r'^8 differs from the width of the backbone, 16 \| decode_head.embed_dims'),
    (dict(num_blocks=4), dict(), r'^4 is not in \[1, 3\].* \| decode_head.num_blocks'),
    (dict(), dict(out_type='featmap'), r'out_type'),
])
@pytest.mark.filterwarnings('ignore:.*causal=True')
def test_what_does_not_go_together(head, backbone, message):
    with pytest.raises(ConfigError, match=message):
        build(head, **backbone)
