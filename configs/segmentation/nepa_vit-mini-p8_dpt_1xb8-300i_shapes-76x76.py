# DPT's head of laptop size on the demo's shapes, by colour; data and schedule of the demo's UPerNet.
#
#   python tools/train.py configs/segmentation/nepa_vit-mini-p8_dpt_1xb8-300i_shapes-76x76.py
#
# Hardware: 2 CPU cores, about 1 minute.
_base_ = [
    '../_base_/models/nepa_segmentor.py',
    '../_base_/datasets/shapes_76.py',
    '../_base_/schedules/300i_adamw.py',
    '../_base_/segmentation_runtime.py',
]

crop_size = (76, 76)
data_preprocessor = dict(size=crop_size)
model = dict(
    data_preprocessor=data_preprocessor,
    backbone=dict(
        arch=dict(embed_dims=128, num_layers=4, num_heads=4, feedforward_channels=512),
        img_size=76,
        patch_size=8,
        out_indices=[0, 1, 2, 3],
        output_cls_token=True,
        final_norm='all',
        init_cfg=dict(checkpoint='work_dirs/nepa_vit-mini-p8_1xb64-coslr-18e_shapes-48px/epoch_18.pth')),
    decode_head=dict(
        type='DPTHead',
        in_channels=[128, 128, 128, 128],
        in_index=[0, 1, 2, 3],
        input_transform='multiple_select',
        channels=32,
        embed_dims=128,
        post_process_channels=[16, 32, 64, 128],
        readout_type='project',
        num_classes=7,
        norm_cfg=dict(type='BN'),
        dropout_ratio=0.1,
        align_corners=False,
        loss_decode=dict(type='CrossEntropyLoss', use_sigmoid=False, loss_weight=1.0)),
    test_cfg=dict(mode='slide', crop_size=crop_size, stride=(50, 50)))
optim_wrapper = dict(
    optimizer=dict(lr=2e-3),
    constructor='nepa_mm.LayerDecayOptimWrapperConstructor',
    paramwise_cfg=dict(layer_decay_rate=0.8))
default_hooks = dict(logger=dict(interval=20), checkpoint=dict(interval=300))
