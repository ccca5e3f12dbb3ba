# UPerNet on CamVid, 11 classes, with a NEPA ViT-B/14 backbone.
#
#   bash tools/dist_train.sh configs/segmentation/nepa_vit-base-p14_upernet_8xb2-amp-20k_camvid-512x512.py 8
#
# Hardware: 8 GPUs. mIoU, single scale: paper none, ours not run.
# The recipe of ADE20K. mmseg has no CamVid; iterations are those of its shortest schedule, for 367 images still 872 epochs.
_base_ = ['../_base_/recipes/nepa_vit-base_upernet.py', '../_base_/datasets/camvid_512.py']

data_preprocessor = dict(seg_pad_val=_base_.unlabelled)
model = dict(
    data_preprocessor=data_preprocessor,
    decode_head=dict(num_classes=11, ignore_index=_base_.unlabelled),
    auxiliary_head=dict(num_classes=11, ignore_index=_base_.unlabelled))

param_scheduler = [_base_.param_scheduler[0], dict(_base_.param_scheduler[1], end=20000)]
train_cfg = dict(max_iters=20000, val_interval=2000)
default_hooks = dict(checkpoint=dict(interval=2000))
