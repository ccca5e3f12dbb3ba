# UPerNet on the pyramid of a ViT-Adapter around the frozen small ViT of docs/evidence.md, CamVid.
#
#   python tools/train.py configs/evidence/nepa_vit-micro-p8_adapter-upernet_1xb4-amp-400i_camvid-224x224.py
#
# Hardware: 1 CPU core, about 10 minutes.
_base_ = [
    '../_base_/models/nepa_segmentor.py',
    '../_base_/datasets/camvid_224.py',
    '../_base_/schedules/300i_adamw.py',
    '../_base_/segmentation_runtime.py',
]

custom_imports = dict(imports=['nepa_mm.ops'], allow_failed_imports=False)
norm_cfg = dict(type='BN', requires_grad=True)
data_preprocessor = dict(size=_base_.crop_size, seg_pad_val=_base_.unlabelled)
model = dict(
    type='nepa_mm.AdaptedEncoderDecoder',
    data_preprocessor=data_preprocessor,
    backbone=dict(
        arch=dict(embed_dims=64, num_layers=4, num_heads=2, feedforward_channels=256),
        img_size=224,
        patch_size=8,
        frozen_stages=4,
        init_cfg=dict(checkpoint='work_dirs/nepa_vit-micro-p8_1xb32-amp-coslr-1e_camvid-cifar10-64px/epoch_1.pth')),
    neck=dict(type='nepa_mm.ViTAdapter', embed_dims=64, num_heads=2, prior_channels=16, norm_cfg=norm_cfg),
    decode_head=dict(
        type='UPerHead',
        in_channels=[64, 64, 64, 64],
        in_index=[0, 1, 2, 3],
        pool_scales=(1, 2, 3, 6),
        channels=48,
        num_classes=11,
        ignore_index=_base_.unlabelled,
        norm_cfg=norm_cfg,
        dropout_ratio=0.1,
        align_corners=False,
        loss_decode=dict(type='CrossEntropyLoss', use_sigmoid=False, loss_weight=1.0)),
    test_cfg=dict(mode='slide', crop_size=_base_.crop_size, stride=(136, 128)))

optim_wrapper = dict(type='nepa_mm.Bf16OptimWrapper')
param_scheduler = [dict(_base_.param_scheduler[0], end=40), dict(_base_.param_scheduler[1], begin=40, end=400)]
train_cfg = dict(max_iters=400, val_interval=400)
default_hooks = dict(logger=dict(interval=10), checkpoint=dict(interval=400))
