# Fine-tuning of the small ViT of docs/evidence.md on CIFAR-10 as the release does it, bidirectional, patch embedding frozen, mean of
# the patch tokens; but without layer-wise decay, since four blocks and few epochs leave the first ones no time to follow.
#
#   python tools/train.py configs/evidence/nepa_vit-micro-p4_1xb64-coslr-3e_cifar10-32px.py
#
# Hardware: 1 CPU core, about 10 minutes.
_base_ = [
    '../_base_/models/nepa_classifier.py',
    '../_base_/datasets/cifar10_32.py',
    '../_base_/default_runtime.py',
]

model = dict(
    data_preprocessor=dict(mean=[127.5] * 3, std=[127.5] * 3, to_rgb=True, num_classes=10),
    backbone=dict(
        arch=dict(embed_dims=64, num_layers=4, num_heads=2, feedforward_channels=256),
        img_size=32,
        patch_size=4,
        init_cfg=dict(checkpoint='work_dirs/nepa_vit-micro-p4_1xb64-coslr-8e_cifar10-32px/epoch_8.pth')),
    # A list, which replaces the base's zeros: what is published was run so.
    head=dict(num_classes=10, in_channels=64, init_cfg=[dict(type='TruncNormal', layer='Linear', std=0.02)]),
    train_cfg=None)  # no mixup: epochs are few

optim_wrapper = dict(
    optimizer=dict(type='AdamW', lr=2e-3, betas=(0.9, 0.999), weight_decay=0.05),
    clip_grad=dict(max_norm=1.0),
    constructor='nepa_mm.LayerDecayOptimWrapperConstructor')
# 781 iterations an epoch
param_scheduler = dict(
    type='nepa_mm.LayerDecayCosineLR', decay=1.0, warmup=0.6, end=3, by_epoch=True, convert_to_iter_based=True)
train_cfg = dict(type='nepa_mm.AccumulatingEpochLoop', max_epochs=3, val_interval=3)
auto_scale_lr = dict(base_batch_size=64)
val_cfg = dict()
test_cfg = dict()
default_hooks = dict(checkpoint=dict(interval=3))
