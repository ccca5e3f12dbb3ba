# Mask2Former of laptop size on the demo's shapes in COCO's layout, from scratch or from the demo's pretraining.
#
#   python tools/demo/draw_coco.py data/shapes_coco
#   python tools/train.py configs/detection/nepa_vit-mini-p8_mask2former_1xb8-300i_shapes-112x144.py
#
# Hardware: 2 CPU cores, about 4 minutes. Box mAP 68.2, mask mAP 82.5 from scratch (seed 0).
_base_ = [
    '../_base_/models/nepa_mask2former.py',
    '../_base_/datasets/shapes_instance_112x144.py',
    '../_base_/schedules/300i_layer-decay_adamw.py',
    '../_base_/detection_runtime.py',
]

attention = dict(embed_dims=64, num_heads=4)
ffn = dict(embed_dims=64, feedforward_channels=128)
position = dict(num_feats=32)
model = dict(
    backbone=dict(
        arch=dict(embed_dims=128, num_layers=4, num_heads=4, feedforward_channels=512),
        img_size=112,
        patch_size=8,
        init_cfg=None),
    neck=dict(embed_dims=128, out_channels=64, scales=(2, 1, 0.5), num_outs=4),  # strides 4 to 32
    panoptic_head=dict(
        in_channels=[64] * 4,
        feat_channels=64,
        out_channels=64,
        num_things_classes=6,
        num_queries=20,
        pixel_decoder=dict(
            norm_cfg=dict(num_groups=8),
            encoder=dict(num_layers=1, layer_cfg=dict(self_attn_cfg=attention, ffn_cfg=ffn)),
            positional_encoding=position),
        positional_encoding=position,
        transformer_decoder=dict(
            num_layers=3, layer_cfg=dict(self_attn_cfg=attention, cross_attn_cfg=attention, ffn_cfg=ffn)),
        loss_cls=dict(class_weight=[1.0] * 6 + [0.1])),
    panoptic_fusion_head=dict(num_things_classes=6),
    train_cfg=dict(num_points=1024),
    test_cfg=dict(max_per_image=20))

default_hooks = dict(logger=dict(interval=20), checkpoint=dict(interval=300))
