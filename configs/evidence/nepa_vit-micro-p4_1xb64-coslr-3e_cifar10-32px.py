# Fine-tuning of the small ViT of docs/evidence.md on CIFAR-10 as the release does it, bidirectional, patch embedding frozen, mean of
# the patch tokens; but without layer-wise decay, since four blocks and few epochs leave the first ones no time to follow.
#
#   python tools/train.py configs/evidence/nepa_vit-micro-p4_1xb64-coslr-3e_cifar10-32px.py
#
# Hardware: 1 CPU core, about 10 minutes.
_base_ = [
    '../_base_/models/nepa_classifier.py',
    '../_base_/datasets/cifar10_32.py',
    '../_base_/schedules/finetune_bs64_adamw.py',
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

param_scheduler = dict(warmup=0.6)  # 781 iterations an epoch
train_cfg = dict(val_interval=3)
default_hooks = dict(checkpoint=dict(interval=3))
