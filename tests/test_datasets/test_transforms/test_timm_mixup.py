"""Images, targets and loss of timm, through mmpretrain's classifier."""
import numpy as np
import pytest
import timm
import torch
import torch.nn.functional as F
from mmpretrain.models import ImageClassifier
from mmpretrain.structures import DataSample
from timm.data import Mixup
from timm.loss import SoftTargetCrossEntropy

from nepa_mm.datasets import TimmMixup
from nepa_mm.errors import ConfigError

RECIPE = dict(num_classes=5, mixup_alpha=0.8, cutmix_alpha=1.0, label_smoothing=0.1)
LABELS = torch.tensor([0, 1, 2, 4])
IMAGES = torch.arange(4.).view(4, 1, 1, 1).expand(4, 3, 8, 8)  # image i is i everywhere


@pytest.mark.parametrize('mode', ['batch', 'pair', 'elem'])
def test_images_and_targets_are_timms_and_the_arguments_stay(mode):
    images, scores = IMAGES.clone(), F.one_hot(LABELS, 5)
    drawn = set()
    for seed in range(20):
        np.random.seed(seed)
        mixed, targets = TimmMixup(mode=mode, **RECIPE)(images, scores)
        np.random.seed(seed)
        expected, expected_targets = Mixup(mode=mode, **RECIPE)(IMAGES.clone(), LABELS)
        assert torch.equal(mixed, expected) and torch.equal(targets, expected_targets)
        assert torch.equal(images, IMAGES) and torch.equal(scores, F.one_hot(LABELS, 5))
        torch.testing.assert_close(targets.sum(dim=1), torch.ones(4))
        drawn.add('cutmix' if set(mixed[0].unique().tolist()) <= {0., 3.} else 'mixup')
    assert drawn == {'cutmix', 'mixup'}


# Top, bottom, left, right of boxes of 40 % of 224 x 224 pixels, by seeds 0 to 3
BOXES = [(102, 224, 0, 118), (0, 108, 70, 211), (98, 224, 0, 86), (36, 177, 82, 223)]
BOXES_BEFORE_1_0_29 = [(102, 224, 0, 117), (0, 107, 70, 210), (98, 224, 0, 85), (36, 176, 82, 222)]


def test_boxes_of_the_pinned_timm(monkeypatch):
    """They changed once: what "bit for bit" means depends on the version."""
    ours = TimmMixup(num_classes=2, cutmix_alpha=1.0, mixup_alpha=0.)
    monkeypatch.setattr(ours.timm, '_params_per_batch', lambda: (0.6, True))
    is_old = tuple(map(int, timm.__version__.split('.')[:3])) < (1, 0, 29)
    for seed, (top, bottom, left, right) in enumerate(BOXES_BEFORE_1_0_29 if is_old else BOXES):
        np.random.seed(seed)
        images = torch.arange(2.).view(2, 1, 1, 1).expand(2, 3, 224, 224)
        mixed, targets = ours(images, torch.eye(2))
        expected = torch.zeros(3, 224, 224)
        expected[:, top:bottom, left:right] = 1.
        assert torch.equal(mixed[0], expected)
        share = (bottom - top) * (right - left) / 224**2
        torch.testing.assert_close(targets[0], torch.tensor([0.95 - 0.9 * share, 0.05 + 0.9 * share]))


def test_smoothed_targets_by_hand():
    _, targets = TimmMixup(prob=0., **RECIPE)(IMAGES, F.one_hot(LABELS, 5))
    expected = torch.full((4, 5), 0.02)
    expected[range(4), LABELS] = 0.92
    torch.testing.assert_close(targets, expected)


def test_loss_of_mmpretrains_classifier_is_timms():
    classifier = ImageClassifier(
        backbone=torch.nn.Flatten(),
        head=dict(type='LinearClsHead', num_classes=5, in_channels=192, loss=dict(type='CrossEntropyLoss', use_soft=True)),
        data_preprocessor=dict(to_onehot=True, num_classes=5),
        train_cfg=dict(augments=[dict(type='nepa_mm.TimmMixup', **RECIPE)]))
    classifier.backbone.forward = lambda x: (x.flatten(1), )
    images = torch.randn(4, 3, 8, 8)
    for seed in range(5):
        np.random.seed(seed)
        data = dict(inputs=images.clone(), data_samples=[DataSample().set_gt_label(label) for label in LABELS])
        batch = classifier.data_preprocessor(data, training=True)
        loss = classifier(**batch, mode='loss')['loss']
        np.random.seed(seed)
        np.random.choice(1)  # mmpretrain's choice among the augmentations
        mixed, targets = Mixup(**RECIPE)(images.clone(), LABELS)
        assert torch.equal(batch['inputs'], mixed)  # no normalisation, no swap of channels
        torch.testing.assert_close(loss, SoftTargetCrossEntropy()(classifier.head.fc(mixed.flatten(1)), targets))
    untouched = classifier.data_preprocessor(dict(inputs=images), training=False)['inputs']
    assert torch.equal(untouched, images)


def test_errors_name_the_setting():
    with pytest.raises(ConfigError, match=r'^1 leaves nothing to mix \| TimmMixup.num_classes'):
        TimmMixup(num_classes=1)
    with pytest.raises(ConfigError, match=r"^0.8 is for no argument of timm.data.Mixup \| TimmMixup.alpha \| .*'mixup_alpha'"):
        TimmMixup(num_classes=5, alpha=0.8)
    with pytest.raises(ConfigError, match=r'a batch of 3 \| train_dataloader.batch_size \| '):
        TimmMixup(**RECIPE)(IMAGES[:3], F.one_hot(LABELS[:3], 5))
    with pytest.raises(ConfigError, match=r'^5 differs from model.data_preprocessor.num_classes=10 \| TimmMixup.num_classes'):
        TimmMixup(**RECIPE)(IMAGES, F.one_hot(LABELS, 10))
