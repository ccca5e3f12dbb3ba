# UPerNet on Cityscapes, 19 classes, with a NEPA ViT-B/14 backbone.
#
#   bash tools/dist_train.sh configs/segmentation/nepa_vit-base-p14_upernet_4xb2-amp-80k_cityscapes-512x1024.py 4
#
# Hardware: 4 GPUs. mIoU, single scale: paper none, ours not run.
# The recipe of ADE20K. Crop, batch and iterations are those of mmseg's longest UPerNet schedule for this data (4xb2-80k); its
# transformers keep the learning rate of ADE20K at this batch (SegFormer: 6e-5 for both). Windows overlap by a third, as on ADE20K.
# 8 GPUs: train_dataloader.batch_size=1. One GPU keeps 2: a 1 x 1 map of one image cannot be batch-normalised.
_base_ = ['../_base_/recipes/nepa_vit-base_upernet.py', '../_base_/datasets/cityscapes_512x1024.py']

data_preprocessor = dict(size=_base_.crop_size)
model = dict(
    data_preprocessor=data_preprocessor,
    backbone=dict(img_size=_base_.crop_size),
    decode_head=dict(num_classes=19),
    auxiliary_head=dict(num_classes=19),
    test_cfg=dict(crop_size=_base_.crop_size, stride=(341, 682)))

param_scheduler = [_base_.param_scheduler[0], dict(_base_.param_scheduler[1], end=80000)]
train_cfg = dict(max_iters=80000, val_interval=8000)
auto_scale_lr = dict(base_batch_size=8)
default_hooks = dict(checkpoint=dict(interval=8000))
