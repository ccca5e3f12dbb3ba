from types import SimpleNamespace

import pytest
import torch
from mmengine.config import ConfigDict
from mmengine.registry import MODELS, DefaultScope
from mmengine.structures import PixelData
from mmseg.models import SegTTAModel as MMSegTTAModel
from mmseg.structures import SegDataSample
from torch import nn

from nepa_mm.errors import ConfigError
from nepa_mm.models import SegTTAModel
from tiny import TINY, randomize

HEAD = dict(
    type='FCNHead', in_channels=16, in_index=0, channels=16, num_convs=0, concat_input=False, dropout_ratio=0, num_classes=2,
    norm_cfg=None, loss_decode=dict(type='CrossEntropyLoss'))


def segmentor(patch_size=14, kind='nepa_mm.PaddedEncoderDecoder', out_type='padded_featmap', **test_cfg):
    backbone = dict(
        type='nepa_mm.NEPAViT', **{**TINY, 'patch_size': patch_size}, causal=False, out_type=out_type, out_indices=0,
        layer_scale_init_value=0.)  # blocks switched off
    with DefaultScope.overwrite_default_scope('mmseg'):
        return MODELS.build(ConfigDict(
            type=kind, backbone=backbone, decode_head=HEAD, test_cfg={'mode': 'whole', **test_cfg})).eval()


def reading_positions(**kwargs):
    """A segmentor whose two logits are the mean of the first two channels over each patch: the colours that it is shown."""
    model = segmentor(**kwargs)
    for parameter in model.parameters():
        parameter.data.zero_()
    for channel in range(2):
        weight = model.backbone.patch_embed.weight
        weight.data[channel, channel] = 1 / weight[0, 0].numel()
        model.decode_head.conv_seg.weight.data[channel, channel] = 1
    return model


def positions(size):
    """An image [1, 3, H, W] whose colours are the row and the column of each pixel."""
    rows, columns = torch.meshgrid(*(torch.arange(side, dtype=torch.float32) for side in size), indexing='ij')
    return torch.stack([rows, columns, torch.zeros(size)])[None]


def line(found, expected):
    """Least-squares slope of what was found over what is there, and its mean offset in pixels."""
    x, y = expected.double().flatten(), found.double().flatten()
    centred = x - x.mean()
    return ((centred * (y - y.mean())).sum() / (centred**2).sum()).item(), (y - x).mean().item()


SIZES = [(512, 512), (512, 683), (683, 512), (500, 391), (1024, 700)]
WAYS = [(14, 512, 341), (14, 518, 345), (16, 512, 341)]  # padded to whole patches; crops of whole patches; patches that fit 512


@pytest.mark.parametrize('size', SIZES)
@pytest.mark.parametrize('patch_size, crop, stride', WAYS)
@pytest.mark.parametrize('mode', ['whole', 'slide'])
def test_each_pixel_reads_its_own_position(size, patch_size, crop, stride, mode):
    image = positions(size)
    metas = [dict(ori_shape=size, img_shape=size, pad_shape=size)]
    with torch.no_grad():
        model = reading_positions(patch_size=patch_size, mode=mode, crop_size=(crop, crop), stride=(stride, stride))
        logits = model.inference(image, metas)
    assert logits.shape == (1, 2, *size)
    for axis in range(2):
        slope, offset = line(logits[0, axis], image[0, axis])
        assert abs(slope - 1) < 0.002 and abs(offset) < 0.5, (axis, slope, offset)
    if mode == 'whole':  # between the centres of the first and the last patch of image alone, to the last digit
        inner = slice(patch_size // 2, -2 * patch_size)
        torch.testing.assert_close(logits[0, :, inner, inner], image[0, :2, inner, inner], atol=2e-3, rtol=0)


def test_mmseg_s_own_would_be_off():
    size = (512, 512)
    model = reading_positions(kind='EncoderDecoder')
    logits = model.inference(positions(size), [dict(ori_shape=size, img_shape=size)])
    slope, offset = line(logits[0, 1], positions(size)[0, 1])
    assert slope > 1.01 and offset > 2


def sample(label):
    return SegDataSample(gt_sem_seg=PixelData(data=label), metainfo=dict(img_shape=tuple(label.shape[-2:])))


def test_padding_counts_for_nothing_in_training():
    model = randomize(segmentor()).train()
    for layer in model.backbone.layers:  # RoPE would tell an image from a larger one
        layer.ls1.gamma.data.zero_()
    image, label = torch.randn(1, 3, 40, 50), torch.randint(0, 2, (1, 40, 50))
    loss = model.loss(image, [sample(label)])['decode.loss_ce']
    model.eval()
    padded = torch.nn.functional.pad(image, (0, 6, 0, 2), mode='replicate')  # to 42 x 56
    logits = model.encode_decode(padded, [dict(img_shape=(42, 56))])[..., :40, :50]
    expected = torch.nn.functional.cross_entropy(logits, label)
    # mmseg divides by all pixels, the ignored ones too.
    torch.testing.assert_close(loss, expected * (40 * 50) / (42 * 56), atol=1e-5, rtol=1e-5)
    assert sample(label).gt_sem_seg.data.shape == (1, 40, 50)  # the sample itself stays


def test_another_feature_map_is_refused():
    with pytest.raises(ConfigError, match=r"'featmap' does not fit PaddedEncoderDecoder.* \| out_type"):
        segmentor(out_type='featmap')


@pytest.mark.parametrize('as_list', [False, True])
def test_heads_must_ignore_the_same_label(as_list):
    other = {**HEAD, 'ignore_index': 9}
    backbone = dict(type='nepa_mm.NEPAViT', **TINY, causal=False, out_type='padded_featmap')
    model = dict(type='nepa_mm.PaddedEncoderDecoder', backbone=backbone, decode_head=HEAD, test_cfg=dict(mode='whole'))
    with DefaultScope.overwrite_default_scope('mmseg'):
        with pytest.raises(ConfigError, match=r'9 differs from decode_head.ignore_index=255.* \| auxiliary_head.ignore_index'):
            MODELS.build(ConfigDict(**model, auxiliary_head=[HEAD, other] if as_list else other))


def test_a_cascade_cuts_the_padding_off_too():
    backbone = dict(type='nepa_mm.NEPAViT', **TINY, causal=False, out_type='padded_featmap')
    ocr = {key: value for key, value in HEAD.items() if key not in ('num_convs', 'concat_input')}
    ocr.update(type='OCRHead', ocr_channels=8)
    cascade = dict(type='nepa_mm.PaddedCascadeEncoderDecoder', backbone=backbone, num_stages=2, test_cfg=dict(mode='whole'))
    with DefaultScope.overwrite_default_scope('mmseg'):
        model = MODELS.build(ConfigDict(**cascade, decode_head=[HEAD, ocr])).eval()
        with pytest.raises(ConfigError, match=r'9 differs from decode_head.ignore_index=255.* \| decode_head.ignore_index'):
            MODELS.build(ConfigDict(**cascade, decode_head=[HEAD, {**ocr, 'ignore_index': 9}]))
    image = torch.randn(1, 3, 30, 25)
    logits = model.encode_decode(image, [{}])
    first, second = model.decode_head
    features = model.extract_feat(image)
    expected = nn.functional.interpolate(second(features, first(features)), (35, 28), mode='bilinear')[..., :30, :25]
    torch.testing.assert_close(logits, expected)
    label = torch.randint(0, 2, (1, 30, 25))
    losses = model.loss(image, [sample(label)])
    assert {name for name in losses if 'loss' in name} == {'decode_0.loss_ce', 'decode_1.loss_ce'}


def wrapped(kind, out_channels):
    model = kind.__new__(kind)
    nn.Module.__init__(model)
    model.__dict__['module'] = SimpleNamespace(out_channels=out_channels, decode_head=SimpleNamespace(threshold=0.5))
    return model


def versions(*outputs):
    labels = PixelData(data=torch.ones(1, 2, 2))
    facts = dict(gt_sem_seg=labels, metainfo=dict(img_path='a.png'))
    return [[SegDataSample(seg_logits=PixelData(data=data), **facts) for data in outputs]]


def test_one_output_is_the_mean_of_its_probabilities():
    first, second = torch.tensor([[[0.9, 0.2], [0.4, 0.1]]]), torch.tensor([[[0.3, 0.1], [0.7, 0.0]]])
    merged, = wrapped(SegTTAModel, 1).merge_preds(versions(first, second))
    assert merged.pred_sem_seg.data.tolist() == [[[1, 0], [1, 0]]] and merged.img_path == 'a.png' and 'gt_sem_seg' in merged
    assert torch.equal(merged.seg_logits.data, (first + second) / 2)
    theirs, = wrapped(MMSegTTAModel, 1).merge_preds(versions(first, second))
    assert theirs.pred_sem_seg.data.mean() == pytest.approx(1)  # what this one is for


def test_several_outputs_are_mmsegs():
    outputs = torch.randn(2, 3, 2, 2)
    ours, theirs = (wrapped(kind, 3).merge_preds(versions(*outputs))[0] for kind in (SegTTAModel, MMSegTTAModel))
    assert torch.equal(ours.pred_sem_seg.data, theirs.pred_sem_seg.data)
