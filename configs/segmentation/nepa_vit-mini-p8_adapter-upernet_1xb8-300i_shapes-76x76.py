# UPerNet on the pyramid of a ViT-Adapter of laptop size, on the demo's shapes, by colour; data and schedule of the demo's UPerNet.
#
#   python tools/train.py configs/segmentation/nepa_vit-mini-p8_adapter-upernet_1xb8-300i_shapes-76x76.py
#
# Hardware: 2 CPU cores, about 2 minutes.
_base_ = [
    '../_base_/models/nepa_segmentor.py',
    '../_base_/datasets/shapes_76.py',
    '../_base_/schedules/300i_adamw.py',
    '../_base_/segmentation_runtime.py',
]

custom_imports = dict(imports=['nepa_mm.ops'], allow_failed_imports=False)
norm_cfg = dict(type='BN', requires_grad=True)
crop_size = (76, 76)
data_preprocessor = dict(size=crop_size)
model = dict(
    type='nepa_mm.AdaptedEncoderDecoder',
    data_preprocessor=data_preprocessor,
    backbone=dict(
        arch=dict(embed_dims=128, num_layers=4, num_heads=4, feedforward_channels=512),
        img_size=76,
        patch_size=8,
        init_cfg=dict(checkpoint='work_dirs/nepa_vit-mini-p8_1xb64-coslr-18e_shapes-48px/epoch_18.pth')),
    neck=dict(type='nepa_mm.ViTAdapter', embed_dims=128, num_heads=4, prior_channels=16, norm_cfg=norm_cfg),
    decode_head=dict(
        type='UPerHead',
        in_channels=[128, 128, 128, 128],
        in_index=[0, 1, 2, 3],
        pool_scales=(1, 2, 3, 6),
        channels=32,
        num_classes=7,
        norm_cfg=norm_cfg,
        dropout_ratio=0.1,
        align_corners=False,
        loss_decode=dict(type='CrossEntropyLoss', use_sigmoid=False, loss_weight=1.0)),
    test_cfg=dict(mode='slide', crop_size=crop_size, stride=(50, 50)))

optim_wrapper = dict(
    optimizer=dict(lr=2e-3),
    constructor='nepa_mm.LayerDecayOptimWrapperConstructor',
    paramwise_cfg=dict(layer_decay_rate=0.8))
default_hooks = dict(logger=dict(interval=20), checkpoint=dict(interval=300))
