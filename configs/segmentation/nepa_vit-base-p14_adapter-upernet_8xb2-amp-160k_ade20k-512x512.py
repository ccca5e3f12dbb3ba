# UPerNet on the pyramid of a ViT-Adapter around a NEPA ViT-B/14, ADE20K.
#
#   bash tools/dist_train.sh configs/segmentation/nepa_vit-base-p14_adapter-upernet_8xb2-amp-160k_ade20k-512x512.py 8
#
# Hardware: 8 GPUs. mIoU, single scale: paper none, ours not run.
# The recipe is UPerNet's; the adapter is that of ViT-B (arXiv 2205.08534). model.backbone.frozen_stages=12 trains it alone.
_base_ = '../_base_/recipes/nepa_vit-base_head_160k_ade20k.py'

custom_imports = dict(imports=['nepa_mm.ops'], allow_failed_imports=False)
model = dict(
    type='nepa_mm.AdaptedEncoderDecoder',
    backbone=dict(drop_path_rate=0.1),
    neck=dict(type='nepa_mm.ViTAdapter', embed_dims=768, num_heads=12, norm_cfg=_base_.norm_cfg),
    decode_head=dict(
        type='UPerHead',
        in_channels=[768, 768, 768, 768],
        in_index=[0, 1, 2, 3],
        pool_scales=(1, 2, 3, 6),
        channels=768),
    auxiliary_head=dict(
        _base_.model.decode_head,  # classes and norm; the rest of it is this head's own
        type='FCNHead',
        in_channels=768,
        in_index=2,
        channels=256,
        num_convs=1,
        concat_input=False,
        loss_decode=dict(type='CrossEntropyLoss', use_sigmoid=False, loss_weight=0.4)))
