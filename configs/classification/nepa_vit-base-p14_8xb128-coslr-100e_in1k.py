# Fine-tuning of a NEPA ViT-B/14 on ImageNet-1k, the release's recipe: bidirectional, mean of patch tokens, fc_norm.
#
#   bash tools/dist_train.sh configs/classification/nepa_vit-base-p14_8xb128-coslr-100e_in1k.py 8
#
# Hardware: 8 GPUs. Top-1: release 83.75 (the paper's SwiGLU variant 83.8), ours not run.
_base_ = [
    '../_base_/models/nepa_classifier.py',
    '../_base_/datasets/imagenet_224.py',
    '../_base_/schedules/finetune_bs1024_adamw.py',
    '../_base_/default_runtime.py',
]

model = dict(
    backbone=dict(
        arch='base',
        drop_path_rate=0.1,
        init_cfg=dict(checkpoint='work_dirs/nepa_vit-base-p14_8xb512-amp-coslr-1600e_in1k/epoch_1600.pth')))

# 8 GPUs x 128 images = 1024
optim_wrapper = dict(optimizer=dict(lr=1.5e-3 * 1024 / 256))
# The release's llrd_cosine_warmup: 20 % of training for the lowest layers, less for those above
param_scheduler = dict(decay=0.65, warmup=20, layerwise_warmup=True, end=100)
train_cfg = dict(max_epochs=100)
default_hooks = dict(checkpoint=dict(save_best='accuracy/top1'))  # of the average, as the release keeps it
