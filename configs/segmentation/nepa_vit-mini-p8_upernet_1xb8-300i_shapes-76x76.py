# The demo's segmentation, laptop size: UPerNet on drawn shapes in ADE20K's layout, by colour. Crops of 76 pixels are no multiple
# of the patch, as 512 is none of 14.
#
#   python tools/train.py configs/segmentation/nepa_vit-mini-p8_upernet_1xb8-300i_shapes-76x76.py
#
# Hardware: 2 CPU cores, about 1 minute.
_base_ = [
    '../_base_/models/nepa_upernet.py',
    '../_base_/datasets/shapes_76.py',
    '../_base_/schedules/300i_adamw.py',
    '../_base_/segmentation_runtime.py',
]

norm_cfg = dict(type='BN', requires_grad=True)
crop_size = (76, 76)
data_preprocessor = dict(size=crop_size)
model = dict(
    data_preprocessor=data_preprocessor,
    backbone=dict(
        arch=dict(embed_dims=128, num_layers=4, num_heads=4, feedforward_channels=512),
        img_size=76,
        patch_size=8,
        out_indices=[0, 1, 2, 3],
        init_cfg=dict(checkpoint='work_dirs/nepa_vit-mini-p8_1xb64-coslr-18e_shapes-48px/epoch_18.pth')),
    neck=dict(embed_dim=128, norm_cfg=norm_cfg),
    decode_head=dict(in_channels=[128, 128, 128, 128], channels=32, num_classes=7, norm_cfg=norm_cfg),
    auxiliary_head=dict(in_channels=128, channels=16, num_classes=7, norm_cfg=norm_cfg),
    test_cfg=dict(mode='slide', crop_size=crop_size, stride=(50, 50)))

optim_wrapper = dict(
    optimizer=dict(lr=2e-3),
    constructor='nepa_mm.LayerDecayOptimWrapperConstructor',
    paramwise_cfg=dict(layer_decay_rate=0.8))
default_hooks = dict(logger=dict(interval=20), checkpoint=dict(interval=300))
