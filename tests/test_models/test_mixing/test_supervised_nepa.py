import pytest
import torch
from mmpretrain.structures import DataSample

from nepa_mm import NEPA, NEPAViT
from nepa_mm.errors import DataError
from nepa_mm.models import SupervisedNEPA
from tiny import TINY, randomize


def build(head=None, cls_weight=1., **kwargs):
    cls_head = dict(type='mmpretrain.LinearClsHead', num_classes=3, in_channels=16,
                    loss=dict(type='mmpretrain.CrossEntropyLoss', loss_weight=cls_weight))
    backbone = NEPAViT(**TINY, rope=dict(rescale=None))
    return randomize(SupervisedNEPA(cls_head, backbone=backbone, head=head or dict(type='nepa_mm.NextEmbeddingLoss'), **kwargs))


def samples(labels=(0, 1, 2, 0)):
    return [DataSample().set_gt_label(label) for label in labels]


def test_both_losses_are_those_of_their_own():
    model, images = build(), torch.randn(4, 3, 28, 28)
    plain = NEPA(model.backbone)
    losses = model(images, samples(), mode='loss')
    assert set(losses) == {'loss', 'cosine', 'collapse', 'cls_loss'}
    assert losses['loss'].item() == pytest.approx(plain.loss(images)['loss'].item(), abs=1e-6)
    features = model.backbone(images)[0][:, 1:].mean(dim=1)
    expected = torch.nn.functional.cross_entropy(model.cls_head.fc(features), torch.tensor([0, 1, 2, 0]))
    assert losses['cls_loss'].item() == pytest.approx(expected.item(), rel=1e-5)


def test_weights_scale_the_sum_that_is_trained_on():
    images = torch.randn(4, 3, 28, 28)
    model, weighted = build(), build(dict(type='nepa_mm.NextEmbeddingLoss', loss_weight=2.), cls_weight=0.5)
    weighted.load_state_dict(model.state_dict())
    one, other = (net.loss(images, samples()) for net in (model, weighted))
    assert other['loss'].item() == pytest.approx(2 * one['loss'].item(), rel=1e-6)
    assert other['cls_loss'].item() == pytest.approx(0.5 * one['cls_loss'].item(), rel=1e-6)
    assert other['cosine'] == one['cosine'] and other['collapse'] == one['collapse']
    total, _ = weighted.parse_losses(other)
    assert total.item() == pytest.approx((other['loss'] + other['cls_loss']).item(), rel=1e-6)


@pytest.mark.parametrize('nepa, cls', [(1., 0.), (0., 1.)])
def test_each_loss_reaches_the_backbone_alone_too(nepa, cls):
    model = build(dict(type='nepa_mm.NextEmbeddingLoss', loss_weight=nepa), cls_weight=cls)
    total, _ = model.parse_losses(model.loss(torch.randn(4, 3, 28, 28), samples()))
    total.backward()
    assert all(parameter.grad.any() for name, parameter in model.backbone.named_parameters() if parameter.ndim > 1)
    assert bool(model.cls_head.fc.weight.grad.any()) == bool(cls)


def test_an_image_without_a_label():
    for data_samples in (None, samples()[:3] + [DataSample()]):
        with pytest.raises(DataError, match=r'an image without a label \| train_dataloader.dataset \| set with_label=True'):
            build().loss(torch.randn(4, 3, 28, 28), data_samples)
