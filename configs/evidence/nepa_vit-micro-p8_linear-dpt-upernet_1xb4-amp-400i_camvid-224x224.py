# Heads on the frozen small ViT of docs/evidence.md, CamVid: linear ones on the last block and on all four, DPT's and UPerNet's. One
# training has them all, since over a frozen backbone each learns as it would alone.
#
#   python tools/train.py configs/evidence/nepa_vit-micro-p8_linear-dpt-upernet_1xb4-amp-400i_camvid-224x224.py
#
# Hardware: 1 CPU core, about 10 minutes.
_base_ = [
    '../_base_/models/nepa_segmentor.py',
    '../_base_/datasets/camvid_224.py',
    '../_base_/schedules/300i_adamw.py',
    '../_base_/segmentation_runtime.py',
]

norm_cfg = dict(type='BN', requires_grad=True)
data_preprocessor = dict(size=_base_.crop_size, seg_pad_val=_base_.unlabelled)
four = dict(in_channels=[64, 64, 64, 64], in_index=[0, 1, 2, 3])
linear = dict(type='FCNHead', num_convs=0, concat_input=False, dropout_ratio=0)
model = dict(
    type='nepa_mm.MultiHeadEncoderDecoder',
    data_preprocessor=data_preprocessor,
    backbone=dict(
        arch=dict(embed_dims=64, num_layers=4, num_heads=2, feedforward_channels=256),
        img_size=224,
        patch_size=8,
        frozen_stages=4,
        out_indices=[0, 1, 2, 3],
        output_cls_token=True,  # of which DPT's head alone is given some
        final_norm='all',
        init_cfg=dict(checkpoint='work_dirs/nepa_vit-micro-p8_1xb32-amp-coslr-1e_camvid-cifar10-64px/epoch_1.pth')),
    decode_head=dict(
        type='nepa_mm.NamedHeads',
        num_classes=11,  # from here on what all have in common
        ignore_index=_base_.unlabelled,
        norm_cfg=norm_cfg,
        dropout_ratio=0.1,
        align_corners=False,
        loss_decode=dict(type='CrossEntropyLoss', use_sigmoid=False, loss_weight=1.0),
        heads=dict(
            linear=dict(**linear, in_channels=64, in_index=3, channels=64),
            linear4=dict(**linear, **four, input_transform='resize_concat', channels=256),
            dpt=dict(
                four,
                type='DPTHead',
                input_transform='multiple_select',
                channels=48,
                embed_dims=64,
                post_process_channels=[16, 32, 64, 64],
                readout_type='project'),
            upernet=dict(
                four,
                type='UPerHead',
                neck=dict(type='Feature2Pyramid', embed_dim=64, rescales=[4, 2, 1, 0.5], norm_cfg=norm_cfg),
                pool_scales=(1, 2, 3, 6),
                channels=48))),
    test_cfg=dict(mode='slide', crop_size=_base_.crop_size, stride=(136, 128)))

optim_wrapper = dict(
    type='nepa_mm.Bf16OptimWrapper',
    paramwise_cfg=dict(custom_keys={'heads.linear': dict(lr_mult=10.0)}))  # 1e-2, as of linear probing, for both linear ones
param_scheduler = [dict(_base_.param_scheduler[0], end=40), dict(_base_.param_scheduler[1], begin=40, end=400)]
train_cfg = dict(max_iters=400, val_interval=400)
val_evaluator = [
    dict(_base_.val_evaluator, head=name, prefix=name)
    for name in ('linear', 'linear4', 'dpt', 'upernet')
]
test_evaluator = val_evaluator
default_hooks = dict(logger=dict(interval=10), checkpoint=dict(interval=400))
