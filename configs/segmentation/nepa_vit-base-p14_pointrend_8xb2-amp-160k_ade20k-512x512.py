# PointRend, which refines a semantic FPN's output at uncertain points, on a pyramid over a NEPA ViT-B/14, ADE20K.
#
#   bash tools/dist_train.sh configs/segmentation/nepa_vit-base-p14_pointrend_8xb2-amp-160k_ade20k-512x512.py 8
#
# Hardware: 8 GPUs. mIoU, single scale: paper none, ours not run.
# Both heads are mmseg's; the recipe is UPerNet's.
_base_ = '../_base_/recipes/nepa_vit-base_head_160k_ade20k.py'

custom_imports = dict(imports=['nepa_mm.ops'], allow_failed_imports=False)
loss = dict(type='CrossEntropyLoss', use_sigmoid=False, loss_weight=1.0)
model = dict(
    type='CascadeEncoderDecoder',
    num_stages=2,
    backbone=dict(out_type='featmap', out_indices=[3, 5, 7, 11], drop_path_rate=0.1),
    neck=[
        dict(type='Feature2Pyramid', embed_dim=768, rescales=[4, 2, 1, 0.5]),
        dict(type='FPN', in_channels=[768] * 4, out_channels=256, num_outs=4),
    ],
    decode_head=[
        dict(
            _base_.model.decode_head,  # classes and norm
            type='FPNHead',
            in_channels=[256] * 4,
            in_index=[0, 1, 2, 3],
            feature_strides=[4, 8, 16, 32],
            channels=128),
        dict(
            type='PointHead',
            in_channels=[256],
            in_index=[0],
            channels=256,
            num_fcs=3,
            coarse_pred_each_layer=True,
            dropout_ratio=-1,
            num_classes=150,
            align_corners=False,
            loss_decode=loss),
    ],
    train_cfg=dict(num_points=2048, oversample_ratio=3, importance_sample_ratio=0.75),
    test_cfg=dict(subdivision_steps=2, subdivision_num_points=8196, scale_factor=2))
