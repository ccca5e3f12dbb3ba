# The demo's fine-tuning, laptop size: after pretraining without labels.
#
#   python tools/train.py configs/classification/nepa_vit-mini-p8_1xb32-coslr-10e_shapes-48px.py
#
# Add --cfg-options model.backbone.init_cfg=None to train from scratch. Hardware: 2 CPU cores, about 1 minute.
_base_ = [
    '../_base_/models/nepa_classifier.py',
    '../_base_/schedules/finetune_bs64_adamw.py',
    '../_base_/default_runtime.py',
]

model = dict(
    data_preprocessor=dict(mean=[127.5] * 3, std=[127.5] * 3, to_rgb=True, num_classes=8),
    backbone=dict(
        arch=dict(embed_dims=128, num_layers=4, num_heads=4, feedforward_channels=512),
        img_size=48,
        patch_size=8,
        frozen_stages=-1,
        init_cfg=dict(checkpoint='work_dirs/nepa_vit-mini-p8_1xb64-coslr-18e_shapes-48px/epoch_18.pth')),
    # A list, which replaces the base's zeros: what is published was run so.
    head=dict(num_classes=8, in_channels=128, init_cfg=[dict(type='TruncNormal', layer='Linear', std=0.02)]),
    train_cfg=dict(augments=[dict(type='nepa_mm.TimmMixup', prob=0., label_smoothing=0.1, num_classes=8)]))  # smoothing alone

classes = ['arrow', 'crescent', 'cross', 'disc', 'ring', 'square', 'star', 'triangle']
train_pipeline = [
    dict(type='nepa_mm.LoadImage'),
    dict(type='RandomResizedCrop', scale=48, crop_ratio_range=(0.7, 1.0), backend='pillow', interpolation='bicubic'),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PackInputs'),
]
test_pipeline = [
    dict(type='nepa_mm.LoadImage'),
    dict(type='ResizeEdge', scale=54, edge='short', backend='pillow', interpolation='bicubic'),  # of 72: shapes have margins
    dict(type='CenterCrop', crop_size=48),
    dict(type='PackInputs'),
]
train_dataloader = dict(
    batch_size=32,
    num_workers=1,
    persistent_workers=True,
    drop_last=True,
    sampler=dict(type='DefaultSampler', shuffle=True),
    collate_fn=dict(type='default_collate'),
    dataset=dict(
        type='ImageNet',
        data_root='data/shapes/imagenet',
        split='train',
        metainfo=dict(classes=classes),
        pipeline=train_pipeline))
val_dataloader = dict(
    batch_size=100,
    num_workers=1,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    collate_fn=dict(type='default_collate'),
    dataset=dict(
        type='ImageNet',
        data_root='data/shapes/imagenet',
        split='val',
        metainfo=dict(classes=classes),
        pipeline=test_pipeline))
test_dataloader = val_dataloader
val_evaluator = dict(type='Accuracy', topk=1)
test_evaluator = val_evaluator

optim_wrapper = dict(paramwise_cfg=dict(head_lr=1e-3))
param_scheduler = dict(decay=0.8, layerwise_warmup=True, end=10)
train_cfg = dict(max_epochs=10, val_interval=5)
auto_scale_lr = dict(base_batch_size=32)
default_hooks = dict(logger=dict(interval=25), checkpoint=dict(interval=10))
