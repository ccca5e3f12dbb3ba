# UPerNet on Pascal VOC 2012 (aug), 21 classes with the background, with a NEPA ViT-B/14 backbone.
#
#   bash tools/dist_train.sh configs/segmentation/nepa_vit-base-p14_upernet_8xb2-amp-40k_voc12aug-512x512.py 8
#
# Hardware: 8 GPUs. mIoU, single scale: paper none, ours not run.
# The recipe of ADE20K. Crop, batch and iterations are those of mmseg's longest UPerNet schedule for this data (4xb4-40k).
_base_ = ['../_base_/recipes/nepa_vit-base_upernet.py', '../_base_/datasets/voc12aug_512.py']

model = dict(decode_head=dict(num_classes=21), auxiliary_head=dict(num_classes=21))

param_scheduler = [_base_.param_scheduler[0], dict(_base_.param_scheduler[1], end=40000)]
train_cfg = dict(max_iters=40000, val_interval=4000)
default_hooks = dict(checkpoint=dict(interval=4000))
