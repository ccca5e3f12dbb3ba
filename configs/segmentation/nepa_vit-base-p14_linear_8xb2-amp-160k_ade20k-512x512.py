# Linear probing on ADE20K: one linear layer on the last feature map of a frozen NEPA ViT-B/14.
#
#   bash tools/dist_train.sh configs/segmentation/nepa_vit-base-p14_linear_8xb2-amp-160k_ade20k-512x512.py 8
#
# Hardware: 8 GPUs. mIoU, single scale: paper none, ours not run.
# Schedule of the UPerNet recipe; the head alone is trained, so its lr is ten times higher.
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
        frozen_stages=12,  # all of it, the final norm too
        init_cfg=dict(checkpoint='work_dirs/nepa_vit-base-p14_8xb512-amp-coslr-1600e_in1k/epoch_1600.pth')),
    decode_head=dict(
        type='FCNHead',
        in_channels=768,
        in_index=0,
        channels=768,
        num_convs=0,  # only the classifier of each patch is left
        concat_input=False,
        dropout_ratio=0.1,
        num_classes=150,
        norm_cfg=_base_.norm_cfg,
        align_corners=False,
        loss_decode=dict(type='CrossEntropyLoss', use_sigmoid=False, loss_weight=1.0)))

optim_wrapper = dict(optimizer=dict(lr=1e-3))
