# Linear probing of a NEPA ViT-L/14 on ImageNet-1k, average embedding (Table 6), by the protocol of
# nepa_vit-base-p14_8xb128-coslr-100e_in1k-linear.py.
#
#   bash tools/dist_train.sh configs/classification/nepa_vit-large-p14_8xb128-coslr-50e_in1k-linear.py 8
#
# Hardware: 8 GPUs. Top-1: paper none (base 14.1), ours not run.
_base_ = [
    '../_base_/models/nepa_classifier.py',
    '../_base_/datasets/imagenet_224.py',
    '../_base_/schedules/finetune_bs1024_adamw.py',
    '../_base_/default_runtime.py',
]

model = dict(
    backbone=dict(
        arch='large',
        causal=True,
        frozen_stages=24,  # all of it: RoPE is not rescaled, fc_norm stays as it begins
        init_cfg=dict(checkpoint='work_dirs/nepa_vit-large-p14_8xb256-amp-coslr-800e_in1k/epoch_800.pth')),
    neck=dict(type='ClsBatchNormNeck', input_features=1024),
    head=dict(in_channels=1024),
    train_cfg=None)

train_pipeline = [
    dict(type='nepa_mm.LoadImage', whole=False),
    dict(
        type='nepa_mm.TimmTransform',
        input_size=224,
        is_training=True,
        color_jitter=None,
        interpolation='bicubic',
        mean=[0.5] * 3,
        std=[0.5] * 3,
        on_device=True,
        compile=True),
    dict(type='PackInputs'),
]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))

# 8 GPUs x 128 images = 1024
optim_wrapper = dict(optimizer=dict(lr=1e-3, weight_decay=0.))
param_scheduler = dict(decay=1.0, warmup=5, end=50)
train_cfg = dict(max_epochs=50)
default_hooks = dict(checkpoint=dict(save_best='accuracy/top1'))  # of the average, as the release keeps it
