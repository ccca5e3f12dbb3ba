# MaskFormer on ViTDet's pyramid over a NEPA ViT-B/14, ADE20K.
#
#   bash tools/dist_train.sh configs/segmentation/nepa_vit-base-p14_maskformer_8xb2-amp-160k_ade20k-512x512.py 8
#
# Hardware: 8 GPUs. mIoU, single scale: paper none, ours not run.
# The head is mmseg's, with its clipping at a norm of 0.01; schedule and backbone are UPerNet's. Needs mmdet.
_base_ = [
    '../_base_/models/nepa_maskformer_segmentor.py',
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
