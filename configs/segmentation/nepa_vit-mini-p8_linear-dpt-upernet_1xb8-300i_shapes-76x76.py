# Three heads at once on a frozen backbone of laptop size: a linear one, DPT's and UPerNet's on the demo's shapes, by colour.
#
#   python tools/train.py configs/segmentation/nepa_vit-mini-p8_linear-dpt-upernet_1xb8-300i_shapes-76x76.py
#
# Hardware: 2 CPU cores, about 1 minute.
_base_ = [
    '../_base_/models/nepa_segmentor.py',
    '../_base_/datasets/shapes_76.py',
    '../_base_/schedules/300i_adamw.py',
    '../_base_/segmentation_runtime.py',
]

norm_cfg = dict(type='BN', requires_grad=True)
crop_size = (76, 76)
data_preprocessor = dict(size=crop_size)
four = dict(in_channels=[128, 128, 128, 128], in_index=[0, 1, 2, 3])
model = dict(
    type='nepa_mm.MultiHeadEncoderDecoder',
    data_preprocessor=data_preprocessor,
    backbone=dict(
        arch=dict(embed_dims=128, num_layers=4, num_heads=4, feedforward_channels=512),
        img_size=76,
        patch_size=8,
        frozen_stages=4,
        out_indices=[0, 1, 2, 3],
        output_cls_token=True,  # of which DPT's head alone is given some
        final_norm='all',
        init_cfg=dict(checkpoint='work_dirs/nepa_vit-mini-p8_1xb64-coslr-18e_shapes-48px/epoch_18.pth')),
    decode_head=dict(
        type='nepa_mm.NamedHeads',
        num_classes=7,  # from here on what all have in common
        norm_cfg=norm_cfg,
        dropout_ratio=0.1,
        align_corners=False,
        loss_decode=dict(type='CrossEntropyLoss', use_sigmoid=False, loss_weight=1.0),
        heads=dict(
            linear=dict(type='FCNHead', in_channels=128, in_index=3, channels=128, num_convs=0, concat_input=False),
            dpt=dict(
                four,
                type='DPTHead',
                input_transform='multiple_select',
                channels=32,
                embed_dims=128,
                post_process_channels=[16, 32, 64, 128],
                readout_type='project'),
            upernet=dict(
                four,
                type='UPerHead',
                neck=dict(type='Feature2Pyramid', embed_dim=128, rescales=[4, 2, 1, 0.5], norm_cfg=norm_cfg),
                pool_scales=(1, 2, 3, 6),
                channels=32))),
    test_cfg=dict(mode='slide', crop_size=crop_size, stride=(50, 50)))

optim_wrapper = dict(optimizer=dict(lr=2e-3))
val_evaluator = [
    dict(type='nepa_mm.ExactIoUMetric', iou_metrics=['mIoU'], head='linear', prefix='linear'),
    dict(type='nepa_mm.ExactIoUMetric', iou_metrics=['mIoU'], head='dpt', prefix='dpt'),
    dict(type='nepa_mm.ExactIoUMetric', iou_metrics=['mIoU'], head='upernet', prefix='upernet'),
]
test_evaluator = val_evaluator
default_hooks = dict(logger=dict(interval=20), checkpoint=dict(interval=300))
