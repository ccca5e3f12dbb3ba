"""Heads by name over one backbone are those that stand alone, in training and in tests."""
from copy import deepcopy
from types import SimpleNamespace

import pytest
import torch
from mmengine.config import ConfigDict
from mmengine.evaluator import Evaluator
from mmengine.registry import MODELS, DefaultScope
from mmengine.structures import PixelData
from mmseg.structures import SegDataSample

from nepa_mm.engine.checks.seg_model_checks import check_classes, check_merging, heads_of
from nepa_mm.errors import ConfigError
from nepa_mm.models import NamedHeads, SegTTAModel
from tiny import TINY, randomize

SHARED = dict(num_classes=3, norm_cfg=dict(type='BN'), dropout_ratio=0, channels=8,
              loss_decode=dict(type='CrossEntropyLoss', loss_weight=1.0))
FOUR = dict(in_channels=[16] * 4, in_index=[0, 1, 2, 3])
HEADS = dict(
    linear=dict(type='FCNHead', in_channels=16, in_index=3, channels=16, num_convs=0, concat_input=False),
    dpt=dict(type='DPTHead', input_transform='multiple_select', embed_dims=16, post_process_channels=[8] * 4,
             readout_type='project', **FOUR),
    upernet=dict(
        type='UPerHead', pool_scales=(1, 2), **FOUR,
        neck=dict(type='Feature2Pyramid', embed_dim=16, rescales=[4, 2, 1, 0.5], norm_cfg=dict(type='BN'))))


def build(kind, decode_head, frozen_stages=-1, mode='whole', **kwargs):
    torch.manual_seed(0)
    backbone = dict(type='nepa_mm.NEPAViT', **{**TINY, 'arch': {**TINY['arch'], 'num_layers': 4}}, causal=False, rope=None,
                    out_type='padded_featmap', out_indices=[0, 1, 2, 3], frozen_stages=frozen_stages, **kwargs)
    with DefaultScope.overwrite_default_scope('mmseg'):
        model = MODELS.build(ConfigDict(
            type=f'nepa_mm.{kind}', backbone=backbone, decode_head=decode_head,
            test_cfg=dict(mode=mode, crop_size=(30, 30), stride=(20, 20))))
    return randomize(model)


def several(**kwargs):
    return build('MultiHeadEncoderDecoder', dict(type='nepa_mm.NamedHeads', heads=deepcopy(HEADS), **SHARED),
                 output_cls_token=True, **kwargs)


def alone(name, model, **kwargs):
    """One head with the weights that it has among others, under its backbone and after its neck."""
    head = {**SHARED, **HEADS[name]}
    neck = head.pop('neck', None)
    single = build('PaddedEncoderDecoder', head, output_cls_token=name == 'dpt', **kwargs)
    single.backbone.load_state_dict(model.backbone.state_dict())
    single.decode_head.load_state_dict(model.decode_head.heads[name].state_dict())
    if neck:
        with DefaultScope.overwrite_default_scope('mmseg'):
            single.neck = MODELS.build(ConfigDict(neck))
        single.neck.load_state_dict(model.decode_head.necks[name].state_dict())
    return single.train(model.training)


def samples(images, size):
    torch.manual_seed(1)
    meta = dict(ori_shape=size, img_shape=size, pad_shape=size)
    return [SegDataSample(metainfo=meta, gt_sem_seg=PixelData(data=torch.randint(0, 3, (1, *size)))) for _ in range(images)]


@pytest.mark.parametrize('frozen_stages', [-1, 4])
def test_each_head_learns_as_it_would_alone(frozen_stages):
    model = several(frozen_stages=frozen_stages)
    model.train()
    images, labels = torch.randn(2, 3, 30, 30), samples(2, (30, 30))
    losses = model.loss(images, labels)
    assert set(losses) == {f'decode.{name}.{value}' for name in HEADS for value in ('loss_ce', 'acc_seg')}
    sum(value for name, value in losses.items() if 'loss' in name).backward()
    total = 0
    for name in HEADS:
        single = alone(name, model, frozen_stages=frozen_stages)
        loss = single.loss(images, labels)['decode.loss_ce']
        loss.backward()
        assert torch.allclose(losses[f'decode.{name}.loss_ce'], loss, rtol=1e-5)
        for own, parameter in single.decode_head.named_parameters():
            expected = parameter.grad
            found = model.decode_head.heads[name].get_parameter(own).grad
            assert (found is None) == (expected is None) and (found is None or torch.allclose(
                found, expected, rtol=1e-3, atol=1e-5 * expected.abs().max().item() + 1e-7)), own
        if frozen_stages < 0:
            total = total + single.backbone.layers[0].attn.qkv.weight.grad
    weight = model.backbone.layers[0].attn.qkv.weight
    if frozen_stages == 4:
        assert all(parameter.grad is None for parameter in model.backbone.parameters())
    else:  # the sum of what they ask for
        assert torch.allclose(weight.grad, total, rtol=1e-3, atol=1e-4 * total.abs().max().item())


@pytest.mark.parametrize('mode', ['whole', 'slide'])
def test_each_head_predicts_as_it_would_alone_from_one_pass_of_the_backbone(mode):
    model = several(mode=mode).eval()
    passes = []
    model.backbone.register_forward_hook(lambda module, args, out: passes.append(len(args[0])))
    size = (30, 44)
    images = torch.randn(1, 3, *size)
    with torch.no_grad():
        found, = model.predict(images, samples(1, size))
        assert passes == ([1] if mode == 'whole' else [2])  # windows
        for name in HEADS:
            expected, = alone(name, model, mode=mode).predict(images, samples(1, size))
            assert len(expected.pred_sem_seg.data.unique()) > 1
            assert torch.equal(found.get(f'pred_sem_seg_{name}').data, expected.pred_sem_seg.data)
            if name == 'linear':  # the first
                assert torch.equal(found.pred_sem_seg.data, expected.pred_sem_seg.data)
                assert torch.allclose(found.seg_logits.data, expected.seg_logits.data, atol=1e-5)
        assert model.out_channels == 3 and model.decode_head.predicting == ['linear']
        assert model(images).shape[1] == 3  # of the first, for export
        assert 'pred_sem_seg_dpt' in model.predict(images)[0]  # without samples, as inferencers may


def test_each_head_is_judged_by_its_name():
    label = torch.tensor([[[0, 1], [1, 1]]])
    sample = SegDataSample(gt_sem_seg=PixelData(data=label))
    sample.set_data({f'pred_sem_seg{name}': PixelData(data=predicted) for name, predicted in dict(
        _good=label, _bad=1 - label).items()} | dict(pred_sem_seg=PixelData(data=torch.ones_like(label))))
    evaluator = Evaluator([dict(type='nepa_mm.ExactIoUMetric', head=head, prefix=head) for head in ('good', 'bad', None)])
    evaluator.dataset_meta = dict(classes=['a', 'b'])
    evaluator.process([sample])
    assert {name: value for name, value in evaluator.evaluate(1).items() if name.endswith('aAcc')} == {
        'good/aAcc': 100, 'bad/aAcc': 0, 'aAcc': 75}
    evaluator.metrics[0].field = 'pred_sem_seg_fine'
    with pytest.raises(ConfigError, match=r"^'fine' is no head of the model, which has \['bad', 'good'\] \| val_evaluator.head"):
        evaluator.process([sample])


def test_classes_of_all_heads_are_checked_and_merging_is_refused():
    model = several()
    assert list(heads_of(model)) == [f'model.decode_head.heads.{name}' for name in HEADS]
    with pytest.raises(ConfigError, match=r'heads.linear.num_classes=2 model.decode_head.heads.dpt.num_classes=2'):
        check_classes(heads_of(model), SimpleNamespace(metainfo=dict(classes=['a', 'b'])), 'train_dataloader.dataset')
    with pytest.raises(ConfigError, match=r'several heads.* \| model.module.type'):
        check_merging(SegTTAModel(module=model))


@pytest.mark.parametrize('heads, message', [
    (dict(), r'^there is no head \| decode_head.heads'),
    (dict(glossy=HEADS['linear']), r"^'glossy' is no name of a head"),
    ({'my head': HEADS['linear']}, r"^'my head' is no name of a head"),
    (dict(a=HEADS['linear'], b=dict(HEADS['linear'], num_classes=4)),
     r"^4 differs from that of 'a', 3 \| decode_head.heads.b.num_classes \| set them"),
])
def test_heads_that_do_not_go_together(heads, message):
    with DefaultScope.overwrite_default_scope('mmseg'), pytest.raises(ConfigError, match=message):
        NamedHeads(heads, **SHARED)


def test_a_single_head_is_refused():
    with pytest.raises(ConfigError, match=r"^'FCNHead' is one head \| decode_head.type \| set 'nepa_mm.NamedHeads'"):
        build('MultiHeadEncoderDecoder', {**SHARED, **HEADS['linear']})
