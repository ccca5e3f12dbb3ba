# EoMT, queries inside the last three blocks of a NEPA ViT-B/14 and no decoder beside it, ADE20K.
#
#   bash tools/dist_train.sh configs/segmentation/nepa_vit-base-p14_eomt_8xb2-amp-160k_ade20k-512x512.py 8
#
# Hardware: 8 GPUs. mIoU, single scale: paper none, ours not run.
# Queries, blocks and losses are EoMT's (arXiv 2503.19108), with Mask2Former's clipping at a norm of 0.01; schedule and backbone are
# UPerNet's. Needs mmdet.
_base_ = [
    '../_base_/models/nepa_eomt.py',
    '../_base_/datasets/ade20k_512.py',
    '../_base_/schedules/160k_adamw.py',
    '../_base_/segmentation_runtime.py',
]

model = dict(
    backbone=dict(
        arch='base',
        drop_path_rate=0.1,
        init_cfg=dict(checkpoint='work_dirs/nepa_vit-base-p14_8xb512-amp-coslr-1600e_in1k/epoch_1600.pth')))
optim_wrapper = dict(clip_grad=dict(max_norm=0.01))
