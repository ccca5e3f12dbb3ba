# Mask2Former of laptop size on the demo's shapes, by colour; data and schedule of the demo's UPerNet. Needs mmdet.
#
#   python tools/train.py configs/segmentation/nepa_vit-mini-p8_mask2former_1xb8-300i_shapes-76x76.py
#
# Hardware: 2 CPU cores, about 2 minutes.
_base_ = [
    '../_base_/models/nepa_mask2former_segmentor.py',
    '../_base_/datasets/shapes_76.py',
    '../_base_/schedules/300i_adamw.py',
    '../_base_/segmentation_runtime.py',
]

crop_size = (76, 76)
data_preprocessor = dict(size=crop_size)
attention = dict(embed_dims=64, num_heads=4)
ffn = dict(embed_dims=64, feedforward_channels=128)
position = dict(num_feats=32)
model = dict(
    data_preprocessor=data_preprocessor,
    backbone=dict(
        arch=dict(embed_dims=128, num_layers=4, num_heads=4, feedforward_channels=512),
        img_size=76,
        patch_size=8,
        init_cfg=dict(checkpoint='work_dirs/nepa_vit-mini-p8_1xb64-coslr-18e_shapes-48px/epoch_18.pth')),
    neck=dict(embed_dims=128, out_channels=64),
    decode_head=dict(
        in_channels=[64] * 4,
        strides=[2, 4, 8, 16],
        feat_channels=64,
        out_channels=64,
        num_classes=7,
        num_queries=20,
        pixel_decoder=dict(
            norm_cfg=dict(num_groups=8),
            encoder=dict(num_layers=1, layer_cfg=dict(self_attn_cfg=attention, ffn_cfg=ffn)),
            positional_encoding=position),
        positional_encoding=position,
        transformer_decoder=dict(
            num_layers=3, layer_cfg=dict(self_attn_cfg=attention, cross_attn_cfg=attention, ffn_cfg=ffn)),
        loss_cls=dict(class_weight=[1.0] * 7 + [0.1]),
        train_cfg=dict(num_points=1024)),
    test_cfg=dict(mode='slide', crop_size=crop_size, stride=(50, 50)))
optim_wrapper = dict(
    optimizer=dict(lr=1e-3),
    clip_grad=dict(max_norm=1.0),
    constructor='nepa_mm.LayerDecayOptimWrapperConstructor',
    paramwise_cfg=dict(layer_decay_rate=0.8))
default_hooks = dict(logger=dict(interval=20), checkpoint=dict(interval=300))
