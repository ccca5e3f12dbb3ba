"""What the fine-tuning config feeds its backbone and its loss is what the release feeds its own."""
import random

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import DATASETS, MODELS, DefaultScope, init_default_scope
from mmpretrain.structures import DataSample
from PIL import Image
from timm.data import Mixup, create_transform
from torchvision import transforms

from nepa_mm.datasets import collate_and_hold
from tiny import ROOT, TINY

CLASSES = ['a', 'b', 'c', 'd']


def seed(value):
    random.seed(value)
    np.random.seed(value)
    torch.manual_seed(value)


@pytest.fixture
def recipe(tmp_path):
    """The config with a tiny backbone of its kind and two drawn photographs for each of four classes."""
    for split in ('train', 'val'):
        for name in CLASSES:
            (tmp_path / split / name).mkdir(parents=True)
            for i in range(2):
                noise = np.random.default_rng([ord(name), i]).integers(0, 256, (8, 10, 3), dtype=np.uint8)
                Image.fromarray(noise).resize((300, 260), Image.BICUBIC).save(tmp_path / split / name / f'{i}.jpg', quality=90)
    cfg = Config.fromfile(ROOT / 'configs/classification/nepa_vit-base-p14_8xb128-coslr-100e_in1k.py')
    cfg.model.backbone.update(arch=TINY['arch'], init_cfg=None)
    cfg.model.head.update(in_channels=16, num_classes=4)
    cfg.model.data_preprocessor.num_classes = cfg.model.train_cfg.augments[0].num_classes = 4
    for loader in (cfg.train_dataloader, cfg.val_dataloader):
        loader.dataset.update(data_root=str(tmp_path), metainfo=dict(classes=CLASSES))
    init_default_scope('mmpretrain')
    yield MODELS.build(cfg.model), DATASETS.build(cfg.train_dataloader.dataset), DATASETS.build(cfg.val_dataloader.dataset)
    DefaultScope._instance_dict.clear()


def opened(dataset):
    infos = [dataset.get_data_info(i) for i in range(len(dataset))]
    return [Image.open(info['img_path']).convert('RGB') for info in infos], torch.tensor([info['gt_label'] for info in infos])


def test_the_first_loss_is_that_of_a_thousand_equal_classes():
    """The head begins at zero, as the release's."""
    cfg = Config.fromfile(ROOT / 'configs/classification/nepa_vit-base-p14_8xb128-coslr-100e_in1k.py')
    cfg.model.backbone.update(TINY, init_cfg=None)
    cfg.model.head.in_channels = 16
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        model = MODELS.build(cfg.model)
    model.init_weights()
    assert not model.head.fc.weight.any() and not model.head.fc.bias.any()
    batch = collate_and_hold([dict(inputs=torch.rand(3, 28, 28), data_samples=DataSample().set_gt_label(i)) for i in (3, 998)])
    loss = model(**model.data_preprocessor(batch, training=True), mode='loss')['loss']
    assert loss.item() == pytest.approx(6.9078, abs=1e-4)  # ln 1000


def test_training_and_evaluation(recipe):
    model, train, val = recipe
    seen = []
    model.backbone.register_forward_pre_hook(lambda module, args: seen.append(args[0].detach().clone()))

    seed(0)
    batch = collate_and_hold([train[i] for i in range(8)])
    seed(5)
    data = model.train().data_preprocessor(batch, training=True)
    loss = model(**data, mode='loss')['loss']

    images, labels = opened(train)
    normal = dict(mean=[0.5] * 3, std=[0.5] * 3)
    transform = create_transform(
        input_size=224, is_training=True, auto_augment='rand-m9-mstd0.5-inc1', interpolation='bicubic', re_prob=0.25,
        re_mode='pixel', re_count=1, **normal)
    seed(0)
    pixels = torch.stack([transform(image) for image in images])
    seed(5)
    np.random.choice(1)  # mmpretrain chooses one of its one augmentations
    expected, targets = Mixup(
        mixup_alpha=0.8, cutmix_alpha=1.0, prob=1.0, switch_prob=0.5, mode='batch', label_smoothing=0.1, num_classes=4)(
            pixels, labels)
    assert torch.equal(seen[0], expected)
    torch.testing.assert_close(torch.stack([sample.gt_score for sample in data['data_samples']]), targets)
    seed(5)
    model.data_preprocessor(batch, training=True)  # the random state at which the model above started
    logits = model.head.fc(model.backbone(expected)[-1])
    torch.testing.assert_close(loss, -(targets * logits.log_softmax(dim=-1)).sum(dim=-1).mean())

    model.eval().val_step(collate_and_hold([val[i] for i in range(8)]))
    release = transforms.Compose([
        transforms.Resize(256, transforms.InterpolationMode.BICUBIC), transforms.CenterCrop(224), transforms.ToTensor(),
        transforms.Normalize(**normal)])
    assert torch.equal(seen[-1], torch.stack([release(image) for image in opened(val)[0]]))
