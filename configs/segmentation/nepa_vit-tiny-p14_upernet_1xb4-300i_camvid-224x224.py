# UPerNet on CamVid (480 x 360 street scenes, 11 classes) with a NEPA ViT-Ti/14, small enough for a laptop.
#
#   python tools/train.py configs/segmentation/nepa_vit-tiny-p14_upernet_1xb4-300i_camvid-224x224.py \
#       --cfg-options train_cfg.val_interval=50   # and model.backbone.init_cfg=None to start from random weights
#
# Hardware: 2 CPU cores, about 5 minutes. After pretrain/nepa_vit-tiny-p14_1xb64-coslr-480e_camvid-112px.py; runs are in docs/runs.md.
_base_ = [
    '../_base_/models/nepa_upernet.py',
    '../_base_/datasets/camvid_224.py',
    '../_base_/schedules/300i_adamw.py',
    '../_base_/segmentation_runtime.py',
]

norm_cfg = dict(type='BN', requires_grad=True)
data_preprocessor = dict(size=_base_.crop_size, seg_pad_val=_base_.unlabelled)
model = dict(
    data_preprocessor=data_preprocessor,
    backbone=dict(
        arch='tiny',
        img_size=224,
        out_indices=[2, 5, 8, 11],
        init_cfg=dict(checkpoint='work_dirs/nepa_vit-tiny-p14_1xb64-coslr-480e_camvid-112px/epoch_480.pth')),
    neck=dict(embed_dim=192, norm_cfg=norm_cfg),
    decode_head=dict(
        in_channels=[192, 192, 192, 192], channels=96, num_classes=11, ignore_index=_base_.unlabelled, norm_cfg=norm_cfg),
    auxiliary_head=dict(in_channels=192, channels=64, num_classes=11, ignore_index=_base_.unlabelled, norm_cfg=norm_cfg),
    test_cfg=dict(mode='slide', crop_size=_base_.crop_size, stride=(136, 128)))

optim_wrapper = dict(
    constructor='nepa_mm.LayerDecayOptimWrapperConstructor', paramwise_cfg=dict(layer_decay_rate=0.85))
default_hooks = dict(logger=dict(interval=20), checkpoint=dict(interval=300))
