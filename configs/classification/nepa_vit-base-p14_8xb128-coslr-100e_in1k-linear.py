# Linear probing of a NEPA ViT-B/14 on ImageNet-1k, average embedding (Table 6): the frozen backbone as pretrained, causal, in
# evaluation mode; mean of the patch tokens. NEPA is not made for it: the paper finds linear probing poor. It does not give the
# protocol, nor does the release (docs/training.md). This one has batch norm before the linear layer, as MAE's has, since NEPA's
# features are correlated (docs/evidence.md), crop and flip, no mixup, no weight decay, and otherwise the head's part of the
# fine-tuning recipe.
#
#   bash tools/dist_train.sh configs/classification/nepa_vit-base-p14_8xb128-coslr-100e_in1k-linear.py 8
#
# Hardware: 8 GPUs. Top-1: paper 14.1, ours not run.
_base_ = [
    '../_base_/models/nepa_classifier.py',
    '../_base_/datasets/imagenet_224.py',
    '../_base_/schedules/finetune_bs1024_adamw.py',
    '../_base_/default_runtime.py',
]

model = dict(
    backbone=dict(
        arch='base',
        causal=True,
        frozen_stages=12,  # all of it: RoPE is not rescaled, fc_norm stays as it begins
        init_cfg=dict(checkpoint='work_dirs/nepa_vit-base-p14_8xb512-amp-coslr-1600e_in1k/epoch_1600.pth')),
    neck=dict(type='ClsBatchNormNeck', input_features=768),
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
param_scheduler = dict(decay=1.0, warmup=10, end=100)
train_cfg = dict(max_epochs=100)
default_hooks = dict(checkpoint=dict(save_best='accuracy/top1'))  # of the average, as the release keeps it
