import pytest
import torch
import torch.nn.functional as F
from mmengine.registry import MODELS

from nepa_mm.errors import ConfigError
from nepa_mm.models import SimplePyramid
from tiny import randomize

SCALES = (4, 2, 1, 0.5)


def test_four_scales_of_the_last_feature_map():
    torch.manual_seed(0)
    neck = MODELS.build(dict(type='nepa_mm.SimplePyramid', embed_dims=16, out_channels=8))
    first, last = torch.randn(2, 16, 6, 10), torch.randn(2, 16, 6, 10, requires_grad=True)
    outputs = neck((first, last))
    assert [tuple(out.shape) for out in outputs] == [(2, 8, int(6 * s), int(10 * s)) for s in SCALES]
    assert all(torch.equal(a, b) for a, b in zip(outputs, neck((last, ))))  # the others do not count
    sum(out.square().mean() for out in outputs).backward()
    assert last.grad.abs().sum() > 0 and all(p.grad is not None and p.grad.abs().sum() > 0 for p in neck.parameters())


def test_output_is_normalised_over_channels():
    outputs = SimplePyramid(16, 8)((torch.randn(1, 16, 4, 4), ))
    for out in outputs:
        assert torch.allclose(out.mean(1), torch.zeros(()), atol=1e-5) and torch.allclose(
            out.var(1, unbiased=False), torch.ones(()), atol=1e-2)


def test_scales_are_the_layers_of_vitdet_in_their_order():
    """The same weights through the formulas, on a map that is no square."""
    torch.manual_seed(0)
    neck, x = randomize(SimplePyramid(8, 4)), torch.randn(2, 8, 3, 5)

    def norm(x, layer):
        return F.layer_norm(x.movedim(1, -1), x.shape[1:2], layer.weight, layer.bias, 1e-6).movedim(-1, 1)

    four, two, one, half = neck.scales
    grown = F.gelu(norm(F.conv_transpose2d(x, four[0].weight, four[0].bias, stride=2), four[1]))
    maps = [F.conv_transpose2d(grown, four[3].weight, four[3].bias, stride=2),
            F.conv_transpose2d(x, two[0].weight, two[0].bias, stride=2), x, F.max_pool2d(x, 2)]
    for out, scale, resized in zip(neck((x, )), neck.scales, maps, strict=True):
        conv1, norm1, conv3, norm3 = scale[-4:]
        expected = norm(F.conv2d(norm(F.conv2d(resized, conv1.weight), norm1), conv3.weight, padding=1), norm3)
        assert torch.allclose(out, expected, atol=1e-4)


def test_further_maps_have_every_second_cell():
    """As ViTDet's pooling with a window of one."""
    *four, fifth, sixth = SimplePyramid(16, 8, num_outs=6)((torch.randn(2, 16, 6, 10), ))
    assert len(four) == 4 and torch.equal(fifth, F.max_pool2d(four[-1], 1, stride=2)) and fifth.shape == (2, 8, 2, 3)
    assert torch.equal(sixth, fifth[..., ::2, ::2])
    with pytest.raises(ConfigError, match='3 maps of 4 scales | num_outs'):
        SimplePyramid(16, num_outs=3)


def test_parameters_are_those_of_vitdet():
    """By hand for ViT-B and 256 channels: deconvolutions with bias, convolutions without, LayerNorms."""
    deconv = (768 * 384 * 4 + 384) + 2 * 384 + (384 * 192 * 4 + 192), 768 * 384 * 4 + 384
    tail = sum(width * 256 + 9 * 256 * 256 + 4 * 256 for width in (192, 384, 768, 768))
    assert sum(p.numel() for p in SimplePyramid(768).parameters()) == sum(deconv) + tail


def test_a_scale_keeps_positions():
    """A mark at a patch stays at the middle of that patch at every scale, with weights that only average."""
    neck = SimplePyramid(4, 4)
    for module in neck.modules():
        if isinstance(module, (torch.nn.Conv2d, torch.nn.ConvTranspose2d)):
            torch.nn.init.ones_(module.weight)
            if module.bias is not None:
                torch.nn.init.zeros_(module.bias)
    neck.scales.apply(lambda module: setattr(module, 'forward', lambda x: x) if 'Norm' in type(module).__name__ else None)
    image = torch.zeros(1, 4, 8, 8)
    image[..., 2:4, 4:6] = 1
    for scale, out in zip(SCALES, neck((image, ))):
        mass = out[0, 0]
        for dim, expected in ((1, 3.), (0, 5.)):  # of rows and columns, in patches
            centres = (torch.arange(mass.shape[1 - dim]) + 0.5) / scale
            assert ((mass.sum(dim) * centres).sum() / mass.sum()).item() == pytest.approx(expected, abs=1e-4)


def test_unknown_scale():
    with pytest.raises(ConfigError, match=r'^\(3,\) has one unknown to SimplePyramid \| scales \| choose from 4, 2, 1 and 0.5$'):
        SimplePyramid(16, scales=(3, ))
