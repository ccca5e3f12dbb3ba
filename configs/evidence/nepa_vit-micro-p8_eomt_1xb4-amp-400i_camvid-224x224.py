# EoMT on CamVid with the small ViT of docs/evidence.md: its last two blocks, which the queries pass, are trained, what is before
# them is frozen. Needs mmdet.
#
#   python tools/train.py configs/evidence/nepa_vit-micro-p8_eomt_1xb4-amp-400i_camvid-224x224.py
#
# Hardware: 1 CPU core, about 10 minutes.
_base_ = [
    '../_base_/models/nepa_eomt.py',
    '../_base_/datasets/camvid_224.py',
    '../_base_/schedules/300i_adamw.py',
    '../_base_/segmentation_runtime.py',
]

data_preprocessor = dict(size=_base_.crop_size, seg_pad_val=_base_.unlabelled)
model = dict(
    data_preprocessor=data_preprocessor,
    backbone=dict(
        arch=dict(embed_dims=64, num_layers=4, num_heads=2, feedforward_channels=256),
        img_size=224,
        patch_size=8,
        frozen_stages=2,  # 4: the queries learn alone
        init_cfg=dict(checkpoint='work_dirs/nepa_vit-micro-p8_1xb32-amp-coslr-1e_camvid-cifar10-64px/epoch_1.pth')),
    decode_head=dict(
        embed_dims=64,
        num_classes=11,
        ignore_index=_base_.unlabelled,
        num_queries=40,
        num_blocks=2,
        num_upscales=1,  # 4 pixels of 8 to a cell
        loss_cls=dict(class_weight=[1.0] * 11 + [0.1]),
        train_cfg=dict(num_points=4096)),
    test_cfg=dict(mode='slide', crop_size=_base_.crop_size, stride=(136, 128)))

optim_wrapper = dict(type='nepa_mm.Bf16OptimWrapper', clip_grad=dict(max_norm=1.0))
param_scheduler = [dict(_base_.param_scheduler[0], end=40), dict(_base_.param_scheduler[1], begin=40, end=400)]
train_cfg = dict(max_iters=400, val_interval=400)
default_hooks = dict(logger=dict(interval=10), checkpoint=dict(interval=400))
