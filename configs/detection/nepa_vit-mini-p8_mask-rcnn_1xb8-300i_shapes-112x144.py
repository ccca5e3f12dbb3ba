# Mask R-CNN of laptop size on the demo's shapes in COCO's layout, from scratch or from the demo's pretraining.
#
#   python tools/demo/draw_coco.py data/shapes_coco
#   python tools/train.py configs/detection/nepa_vit-mini-p8_mask-rcnn_1xb8-300i_shapes-112x144.py
#
# Hardware: 2 CPU cores, about 4 minutes. Box mAP 42.0, mask mAP 65.7 from scratch (seed 0).
_base_ = [
    '../_base_/models/nepa_mask-rcnn.py',
    '../_base_/datasets/shapes_instance_112x144.py',
    '../_base_/schedules/300i_layer-decay_adamw.py',
    '../_base_/detection_runtime.py',
]

strides = [4, 8, 16, 32]  # of a patch of 8, twice, once and half the grid; and the region proposals' further one
regions = dict(roi_layer=dict(sampling_ratio=2), out_channels=64, featmap_strides=strides[:3])
model = dict(
    backbone=dict(
        arch=dict(embed_dims=128, num_layers=4, num_heads=4, feedforward_channels=512),
        img_size=112,
        patch_size=8,
        init_cfg=None),
    neck=dict(embed_dims=128, out_channels=64, scales=(2, 1, 0.5), num_outs=4),
    rpn_head=dict(in_channels=64, feat_channels=64, num_convs=1, anchor_generator=dict(strides=strides)),
    roi_head=dict(
        bbox_roi_extractor=regions,
        bbox_head=dict(
            type='Shared2FCBBoxHead', in_channels=64, conv_out_channels=64, fc_out_channels=128, num_classes=6, norm_cfg=None),
        mask_roi_extractor=regions,
        mask_head=dict(num_convs=2, in_channels=64, conv_out_channels=64, num_classes=6)),
    train_cfg=dict(
        rpn=dict(sampler=dict(num=64)), rpn_proposal=dict(nms_pre=200, max_per_img=100),
        rcnn=dict(sampler=dict(num=32))),
    test_cfg=dict(rpn=dict(nms_pre=200, max_per_img=100)))

default_hooks = dict(logger=dict(interval=20), checkpoint=dict(interval=300))
