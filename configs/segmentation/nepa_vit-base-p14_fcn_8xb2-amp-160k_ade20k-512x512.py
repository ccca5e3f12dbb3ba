# Two convolutions on the last feature map of a NEPA ViT-B/14, ADE20K: mmseg's FCN head.
#
#   bash tools/dist_train.sh configs/segmentation/nepa_vit-base-p14_fcn_8xb2-amp-160k_ade20k-512x512.py 8
#
# Hardware: 8 GPUs. mIoU, single scale: paper none, ours not run.
# The recipe is UPerNet's.
_base_ = [
    '../_base_/models/nepa_segmentor.py',
    '../_base_/datasets/ade20k_512.py',
    '../_base_/schedules/160k_adamw.py',
    '../_base_/segmentation_runtime.py',
]

model = dict(
    backbone=dict(
        arch='base',
        out_indices=[11],
        drop_path_rate=0.1,
        init_cfg=dict(checkpoint='work_dirs/nepa_vit-base-p14_8xb512-amp-coslr-1600e_in1k/epoch_1600.pth')),
    decode_head=dict(
        type='FCNHead',
        in_channels=768,
        in_index=0,
        channels=256,
        num_convs=2,
        concat_input=False,
        dropout_ratio=0.1,
        num_classes=150,
        norm_cfg=_base_.norm_cfg,
        align_corners=False,
        loss_decode=dict(type='CrossEntropyLoss', use_sigmoid=False, loss_weight=1.0)))
