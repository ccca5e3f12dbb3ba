# Linear probing on CamVid: one linear layer on the last feature map of a frozen NEPA ViT-Ti/14, small enough for a laptop.
#
#   python tools/train.py configs/segmentation/nepa_vit-tiny-p14_linear_1xb4-300i_camvid-224x224.py
#
# Hardware: 2 CPU cores, about 3 minutes. After pretrain/nepa_vit-tiny-p14_1xb64-coslr-480e_camvid-112px.py; runs are in docs/runs.md.
_base_ = [
    '../_base_/models/nepa_segmentor.py',
    '../_base_/datasets/camvid_224.py',
    '../_base_/schedules/300i_adamw.py',
    '../_base_/segmentation_runtime.py',
]

data_preprocessor = dict(size=_base_.crop_size, seg_pad_val=_base_.unlabelled)
model = dict(
    data_preprocessor=data_preprocessor,
    backbone=dict(
        arch='tiny',
        img_size=224,
        out_indices=[11],
        frozen_stages=12,  # all of it, the final norm too
        init_cfg=dict(checkpoint='work_dirs/nepa_vit-tiny-p14_1xb64-coslr-480e_camvid-112px/epoch_480.pth')),
    decode_head=dict(
        type='FCNHead',
        in_channels=192,
        in_index=0,
        channels=192,
        num_convs=0,  # only the classifier of each patch is left
        concat_input=False,
        dropout_ratio=0,
        num_classes=11,
        ignore_index=_base_.unlabelled,
        align_corners=False,
        loss_decode=dict(type='CrossEntropyLoss', use_sigmoid=False, loss_weight=1.0)),
    test_cfg=dict(mode='slide', crop_size=_base_.crop_size, stride=(136, 128)))

optim_wrapper = dict(optimizer=dict(lr=1e-2))
default_hooks = dict(logger=dict(interval=20), checkpoint=dict(interval=300))
