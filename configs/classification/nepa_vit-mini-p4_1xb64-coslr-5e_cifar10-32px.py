# A small classifier on CIFAR-10 as folders of images, cifar10/{train,test}/<class>/<n>.jpg; from scratch.
#
#   python tools/train.py configs/classification/nepa_vit-mini-p4_1xb64-coslr-5e_cifar10-32px.py
#
# Hardware: 2 CPU cores. A run on a subset is in docs/runs.md.
_base_ = [
    '../_base_/models/nepa_classifier.py',
    '../_base_/datasets/cifar10_32.py',
    '../_base_/schedules/finetune_bs64_adamw.py',
    '../_base_/default_runtime.py',
]

model = dict(
    data_preprocessor=dict(mean=[127.5] * 3, std=[127.5] * 3, to_rgb=True, num_classes=10),
    backbone=dict(
        arch=dict(embed_dims=128, num_layers=4, num_heads=4, feedforward_channels=512),
        img_size=32,
        patch_size=4,
        frozen_stages=-1,
        layer_scale_init_value=0.1,  # from scratch, 1e-5 would take most of five epochs to grow
        init_cfg=None),
    # A list, which replaces the base's zeros: what is published was run so.
    head=dict(num_classes=10, in_channels=128, init_cfg=[dict(type='TruncNormal', layer='Linear', std=0.02)]),
    train_cfg=None)

optim_wrapper = dict(optimizer=dict(lr=1e-3))
param_scheduler = dict(end=5)
train_cfg = dict(max_epochs=5)
default_hooks = dict(logger=dict(interval=20))
