"""mmcv's operators by our kernels against their published formulas, written out over single numbers."""
from itertools import product
from math import ceil, floor

import mmcv.ops
import pytest
import torch
from mmcv.ops.multi_scale_deform_attn import MultiScaleDeformableAttnFunction
from torch import nn
from torch.autograd import gradcheck

from nepa_mm.errors import ConfigError


def leaf(*shape, scale=1.):
    return (scale * torch.randn(*shape, dtype=torch.float64)).requires_grad_()


def at(image, y, x):
    """Bilinear value [C] of an image [C, H, W] whose cells have their centres at whole numbers; 0 outside."""
    value, (_, height, width) = image.new_zeros(len(image)), image.shape
    for row, column in product((floor(y), floor(y) + 1), (floor(x), floor(x) + 1)):
        if 0 <= row < height and 0 <= column < width:
            value = value + image[:, row, column] * ((1 - abs(y - row)) * (1 - abs(x - column)))
    return value


def overlap(a, b, offset):
    width, height = (max(0., min(a[i + 2], b[i + 2]) - max(a[i], b[i]) + offset) for i in (0, 1))
    areas = [(box[2] - box[0] + offset) * (box[3] - box[1] + offset) for box in (a, b)]
    return width * height / (sum(areas) - width * height)


@pytest.mark.parametrize('offset', [0, 1])
def test_of_boxes_that_overlap_the_best_stays(offset):
    corners = torch.rand(40, 2) * 10
    boxes, scores = torch.cat([corners, corners + 1 + 5 * torch.rand(40, 2)], 1), torch.rand(40)
    kept = []
    for i in scores.argsort(descending=True).tolist():
        if all(overlap(boxes[i].tolist(), boxes[j].tolist(), offset) <= 0.3 for j in kept):
            kept.append(i)
    found, places = mmcv.ops.nms(boxes, scores, 0.3, offset=offset)
    assert places.tolist() == kept and 5 < len(kept) < 35
    assert torch.equal(found, torch.cat([boxes, scores[:, None]], 1)[kept])
    assert mmcv.ops.nms(boxes.bfloat16(), scores, 0.3)[1].numel()
    assert mmcv.ops.nms(boxes[:0], scores[:0], 0.3)[1].numel() == 0


def test_boxes_of_several_classes_do_not_meet():
    boxes, scores, classes = torch.rand(30, 4), torch.rand(30), torch.randint(0, 3, (30, ))
    boxes[:, 2:] += 0.5
    _, kept = mmcv.ops.batched_nms(boxes, scores, classes, dict(type='nms', iou_threshold=0.4))
    apart = [torch.where(classes == c)[0][mmcv.ops.nms(boxes[classes == c], scores[classes == c], 0.4)[1]] for c in range(3)]
    assert sorted(kept.tolist()) == sorted(torch.cat(apart).tolist()) and (scores[kept].diff() <= 0).all()


@pytest.mark.parametrize('is_aligned, samples', [(True, 2), (False, 2), (True, 0)])
def test_roi_align_is_the_mean_of_bilinear_samples(is_aligned, samples):
    features, rois, scale = leaf(2, 2, 6, 7), torch.tensor([[1, 3., 2., 9., 8.], [0, 4., 5., 11., 12.]]).double(), 0.5
    expected = torch.zeros(2, 2, 3, 2, dtype=torch.float64)
    for i, (image, *region) in enumerate(rois.tolist()):
        x1, y1, x2, y2 = (side * scale - 0.5 * is_aligned for side in region)
        height, width = (y2 - y1) / 3, (x2 - x1) / 2
        down, across = (samples or ceil(height), samples or ceil(width))
        for h, w in product(range(3), range(2)):
            places = [(y1 + height * (h + (i + 0.5) / down), x1 + width * (w + (j + 0.5) / across))
                      for i, j in product(range(down), range(across))]
            values = [at(features[int(image)], min(max(y, 0), 5), min(max(x, 0), 6)) for y, x in places]  # the border goes on
            expected[i, :, h, w] = sum(values) / len(values)

    def align(features):
        return mmcv.ops.roi_align(features, rois, (3, 2), scale, samples, 'avg', is_aligned)

    assert torch.allclose(align(features), expected) and gradcheck(align, [features])
    layer = mmcv.ops.RoIAlign((3, 2), scale, samples, aligned=is_aligned)
    half = layer(features.bfloat16(), rois.float())
    assert half.dtype == torch.bfloat16 and torch.allclose(half.double(), expected, atol=0.05)


def test_the_maximum_of_roi_align_is_refused():
    with pytest.raises(ConfigError, match="pool_mode.*set it to 'avg'"):
        mmcv.ops.roi_align(torch.zeros(1, 1, 4, 4), torch.zeros(1, 5), 2, 1., 2, 'max', True)


def test_roi_pool_is_the_maximum_of_each_bin():
    features, scale = leaf(2, 3, 8, 8), 0.5
    rois = torch.tensor([[1, 2., 3., 11., 9.], [0, 1., 1., 4., 14.], [0, 30., 30., 40., 40.], [1, 8., 8., 2., 2.]]).double()
    expected = torch.zeros(4, 3, 3, 2, dtype=torch.float64)
    for i, (image, x1, y1, x2, y2) in enumerate(rois.tolist()):
        left, top, right, bottom = x1 * scale, y1 * scale, (x2 + 1) * scale, (y2 + 1) * scale
        for h, w in product(range(3), range(2)):
            rows = [y for y in range(8) if floor(top + h * (bottom - top) / 3) <= y < ceil(top + (h + 1) * (bottom - top) / 3)]
            cells = [x for x in range(8) if floor(left + w * (right - left) / 2) <= x < ceil(left + (w + 1) * (right - left) / 2)]
            if rows and cells and right > left and bottom > top:
                expected[i, :, h, w] = features[int(image)][:, rows][:, :, cells].amax((1, 2))
    pooled = mmcv.ops.roi_pool(features, rois, (3, 2), scale)
    assert torch.equal(pooled, expected) and pooled[:2].ne(0).all() and pooled[2:].eq(0).all()
    assert gradcheck(lambda features: mmcv.ops.roi_pool(features, rois, (3, 2), scale), [features])


WEIGHT = torch.tensor([0.5, 1., 2., 3.], dtype=torch.float64)


@pytest.mark.parametrize('weight', [None, WEIGHT])
def test_focal_loss_of_independent_classes(weight):
    logits, target = leaf(6, 4), torch.tensor([0, 1, 2, 3, 1, 0 if weight is not None else 4])  # 4 is the background
    expected = torch.zeros(6, 4, dtype=torch.float64)
    for i, c in product(range(6), range(4)):
        p = 1 / (1 + (-logits[i, c]).exp())
        loss = -0.25 * (1 - p) ** 2 * p.log() if target[i] == c else -0.75 * p ** 2 * (1 - p).log()
        expected[i, c] = loss * (1 if weight is None else weight[target[i]])

    def loss(logits, reduction='none'):
        return mmcv.ops.sigmoid_focal_loss(logits, target, 2., 0.25, weight, reduction)

    assert torch.allclose(loss(logits), expected) and gradcheck(loss_sum := lambda logits: loss(logits, 'sum'), [logits])
    assert torch.allclose(loss(logits, 'mean'), loss_sum(logits) / 6)


@pytest.mark.parametrize('weight', [None, WEIGHT])
def test_focal_loss_of_exclusive_classes(weight):
    logits, target = leaf(5, 4), torch.tensor([0, 1, 2, 3, -1])  # of the last one none counts
    p = logits.softmax(1)[range(4), target[:4]]
    expected = -0.25 * (1 - p) ** 2 * p.log() * (1 if weight is None else weight)

    def loss(logits):
        return mmcv.ops.softmax_focal_loss(logits, target, 2., 0.25, weight, 'sum')

    each = mmcv.ops.softmax_focal_loss(logits, target, 2., 0.25, weight, 'none')
    assert torch.allclose(each[:4], expected) and each[4] == 0 and torch.allclose(loss(logits), expected.sum())
    assert gradcheck(loss, [logits])


def convolved(image, offset, mask, weight, groups, offset_groups, stride, padding, dilation):
    """Deformable convolution of one image, number by number."""
    (channels, height, width), (out, _, kh, kw) = image.shape, weight.shape
    size = [(side + 2 * padding - dilation * (kernel - 1) - 1) // stride + 1 for side, kernel in ((height, kh), (width, kw))]
    result = []
    for o, y, x in product(range(out), *map(range, size)):
        total = 0.
        for c, i, j in product(range(weight.shape[1]), range(kh), range(kw)):
            source = o // (out // groups) * (channels // groups) + c
            cell = source // (channels // offset_groups) * kh * kw + i * kw + j
            dy, dx = offset[2 * cell:2 * cell + 2, y, x].tolist()
            row, column = y * stride - padding + i * dilation + dy, x * stride - padding + j * dilation + dx
            total = total + at(image[source:source + 1], row, column)[0] * mask[cell, y, x] * weight[o, c, i, j]
        result.append(total)
    return torch.stack(result).reshape(out, *size)


def test_deformable_convolutions():
    x, weight, bias = leaf(2, 4, 5, 4), leaf(6, 2, 3, 2), leaf(6)
    offset, mask = leaf(2, 2 * 2 * 6, 3, 3, scale=0.7), leaf(2, 2 * 6, 3, 3)
    arguments = 2, 1, 1, 2, 2  # stride, padding, dilation, groups of channels and of offsets

    def plain(x, offset, weight):
        return mmcv.ops.deform_conv2d(x, offset, weight, *arguments)

    def masked(x, offset, mask, weight, bias):
        return mmcv.ops.modulated_deform_conv2d(x, offset, mask, weight, bias, *arguments)

    def expected(mask):
        return torch.stack([convolved(x[i], offset[i], mask[i], weight, 2, 2, 2, 1, 1) for i in range(2)])

    assert torch.allclose(plain(x, offset, weight), expected(torch.ones_like(mask)))
    assert torch.allclose(masked(x, offset, mask, weight, bias), expected(mask) + bias[:, None, None])
    assert gradcheck(plain, [x, offset, weight], fast_mode=True)
    assert gradcheck(masked, [x, offset, mask, weight, bias], fast_mode=True)


@pytest.mark.parametrize('layer', [mmcv.ops.DeformConv2dPack, mmcv.ops.ModulatedDeformConv2dPack])
def test_layers_with_offsets_of_their_own_begin_as_convolutions(layer):
    ours, x = layer(3, 4, 3, padding=1), torch.randn(2, 3, 6, 6)
    half = 0.5 if layer is mmcv.ops.ModulatedDeformConv2dPack else 1.  # its mask is the sigmoid of 0
    expected = half * nn.functional.conv2d(x, ours.weight, padding=1)
    assert torch.allclose(ours(x), expected, atol=1e-5)
    ours(x).sum().backward()
    assert ours.conv_offset.weight.grad.abs().sum() > 0


def test_multi_scale_deformable_attention():
    shapes = torch.tensor([[3, 4], [2, 2]])
    value, places, weights = leaf(2, 16, 2, 3), leaf(2, 5, 2, 2, 3, 2, scale=0.4), leaf(2, 5, 2, 2, 3)
    places = (places + 0.5).detach().requires_grad_()
    expected = torch.zeros(2, 5, 6, dtype=torch.float64)
    for b, q, h, level, p in product(range(2), range(5), range(2), range(2), range(3)):
        (height, width), start = shapes[level].tolist(), [0, 12][level]
        image = value[b, start:start + height * width, h].T.reshape(3, height, width)
        x, y = places[b, q, h, level, p].tolist()
        found = at(image, y * height - 0.5, x * width - 0.5) * weights[b, q, h, level, p]
        expected[b, q, 3 * h:3 * h + 3] += found.detach()

    def attend(*inputs):  # as on a GPU
        return MultiScaleDeformableAttnFunction.apply(inputs[0], shapes, torch.tensor([0, 12]), *inputs[1:], 64)

    assert torch.allclose(attend(value, places, weights), expected)
    assert gradcheck(attend, [value, places, weights], fast_mode=True)


@pytest.mark.parametrize('kind', ['collect', 'distribute'])
def test_psa_mask_spreads_windows_over_the_map(kind):
    """``kind``: a cell says how much it takes of the others, or they of it."""
    x = leaf(2, 15, 3, 4)  # windows of 5 x 3 around the 3 x 4 cells
    expected = torch.zeros(2, 12, 3, 4, dtype=torch.float64)
    for y, x_, i, j in product(range(3), range(4), range(5), range(3)):
        row, column = y + i - 2, x_ + j - 1
        if 0 <= row < 3 and 0 <= column < 4:
            said = x[:, i * 3 + j, y, x_].detach()
            if kind == 'collect':
                expected[:, row * 4 + column, y, x_] = said
            else:
                expected[:, y * 4 + x_, row, column] = said
    layer = mmcv.ops.PSAMask(kind, (5, 3))
    assert torch.equal(layer(x), expected) and gradcheck(layer, [x])


def test_points_are_sampled_where_cells_have_their_centres():
    image = torch.arange(12.).reshape(1, 1, 3, 4)
    points = torch.tensor([[[0.5 / 4, 0.5 / 3], [3.5 / 4, 2.5 / 3], [1. / 4, 0.5 / 3]]])
    assert torch.allclose(mmcv.ops.point_sample(image, points), torch.tensor([[[0., 11., 0.5]]]), atol=1e-5)


def test_what_nothing_stands_in_for_is_refused_when_it_is_called():
    with pytest.raises(ConfigError, match="'softnms' is not compiled .* install an mmcv with compiled operators"):
        mmcv.ops.soft_nms(torch.rand(3, 4), torch.rand(3))
