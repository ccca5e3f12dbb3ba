# UPerNet on ViTDet's pyramid, made from the last feature map of a NEPA ViT-B/14 alone, ADE20K.
#
#   bash tools/dist_train.sh configs/segmentation/nepa_vit-base-p14_simple-pyramid-upernet_8xb2-amp-160k_ade20k-512x512.py 8
#
# Hardware: 8 GPUs. mIoU, single scale: paper none, ours not run.
# The recipe is that of the UPerNet config whose pyramid takes four layers.
_base_ = '../_base_/recipes/nepa_vit-base_head_160k_ade20k.py'

model = dict(
    backbone=dict(drop_path_rate=0.1),
    neck=dict(type='nepa_mm.SimplePyramid', embed_dims=768, out_channels=256),
    decode_head=dict(
        type='UPerHead',
        in_channels=[256, 256, 256, 256],
        in_index=[0, 1, 2, 3],
        pool_scales=(1, 2, 3, 6),
        channels=768),
    auxiliary_head=dict(
        _base_.model.decode_head,  # classes and norm; the rest of it is this head's own
        type='FCNHead',
        in_channels=256,
        in_index=2,
        channels=256,
        num_convs=1,
        concat_input=False,
        loss_decode=dict(type='CrossEntropyLoss', use_sigmoid=False, loss_weight=0.4)))
