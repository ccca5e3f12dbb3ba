# Linear probing of the small ViT of docs/evidence.md on CIFAR-10: the frozen backbone as pretrained, causal, in evaluation mode;
# mean of the patch tokens; as MAE does it, with batch norm before the linear layer, a high rate and no weight decay. Flips alone,
# since a padded crop leaves the last patch black, in whole or in part, in two images of three. One epoch.
#
#   python tools/train.py configs/evidence/nepa_vit-micro-p4_1xb64-coslr-1e_cifar10-32px-linear.py
#
# Hardware: 1 CPU core, about 2 minutes.
_base_ = './nepa_vit-micro-p4_1xb64-coslr-3e_cifar10-32px.py'

model = dict(
    backbone=dict(causal=True, frozen_stages=4),  # all of it: RoPE is not rescaled, fc_norm stays as it begins
    neck=dict(type='ClsBatchNormNeck', input_features=64))
# The features are correlated: at a tenth of this rate, or without the neck, one epoch ends four points lower.
optim_wrapper = dict(optimizer=dict(lr=0.4, weight_decay=0.))
train_dataloader = dict(dataset=dict(pipeline=[
    dict(type='nepa_mm.LoadImage'),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PackInputs'),
]))
param_scheduler = dict(warmup=0.1, end=1)
train_cfg = dict(max_epochs=1, val_interval=1)
default_hooks = dict(checkpoint=dict(interval=1))
