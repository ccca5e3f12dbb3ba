# A head of the leaf's own on the last feature map of a NEPA ViT-B/14, ADE20K, by the recipe of
# segmentation/nepa_vit-base-p14_upernet_8xb2-amp-160k_ade20k-512x512.py
_base_ = [
    '../models/nepa_segmentor.py',
    '../datasets/ade20k_512.py',
    '../schedules/160k_adamw.py',
    '../segmentation_runtime.py',
]

model = dict(
    backbone=dict(
        arch='base',
        out_indices=[11],
        init_cfg=dict(checkpoint='work_dirs/nepa_vit-base-p14_8xb512-amp-coslr-1600e_in1k/epoch_1600.pth')),
    decode_head=dict(
        dropout_ratio=0.1,
        num_classes=150,
        norm_cfg=_base_.norm_cfg,
        align_corners=False,
        loss_decode=dict(type='CrossEntropyLoss', use_sigmoid=False, loss_weight=1.0)))
