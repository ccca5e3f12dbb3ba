# The demo's pretraining, laptop size: the same recipe on drawn shapes (tools/demo/draw_shapes.py data/shapes).
#
#   python tools/train.py configs/pretrain/nepa_vit-mini-p8_1xb64-coslr-18e_shapes-64px.py
#
# Hardware: 2 CPU cores, about 3 minutes.
_base_ = ['../_base_/models/nepa.py', '../_base_/default_runtime.py']

model = dict(
    backbone=dict(
        arch=dict(embed_dims=128, num_layers=4, num_heads=4, feedforward_channels=512), img_size=64, patch_size=8))

train_pipeline = [
    dict(type='nepa_mm.LoadImage'),
    dict(type='RandomResizedCrop', scale=64, crop_ratio_range=(0.3, 1.0), backend='pillow', interpolation='bilinear'),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PackInputs'),
]
train_dataloader = dict(
    batch_size=64,
    num_workers=1,
    persistent_workers=True,
    drop_last=True,
    sampler=dict(type='DefaultSampler', shuffle=True),
    collate_fn=dict(type='default_collate'),
    dataset=dict(
        type='CustomDataset', data_root='data/shapes/imagenet', data_prefix='train', with_label=False, pipeline=train_pipeline))

optim_wrapper = dict(
    optimizer=dict(type='AdamW', lr=3e-3, betas=(0.9, 0.95), weight_decay=0.05),
    clip_grad=dict(max_norm=1.0),
    constructor='nepa_mm.LayerDecayOptimWrapperConstructor',
    paramwise_cfg=dict(layer_decay_rate=1.0))
param_scheduler = dict(
    type='nepa_mm.LayerDecayCosineLR', decay=1.0, warmup=2, end=18, by_epoch=True, convert_to_iter_based=True)
train_cfg = dict(type='nepa_mm.AccumulatingEpochLoop', max_epochs=18)
auto_scale_lr = dict(base_batch_size=64)
custom_hooks = [
    dict(type='EMAHook', ema_type='nepa_mm.ForeachEMA', momentum=1 - 0.99, priority='ABOVE_NORMAL'),
    # What the model sees in three images, in vis_data/vis_image/ of the work directory
    dict(type='nepa_mm.QueryPatchesHook', images=3, interval=222, queries=[(2, 3), (4, 4)], layers=2),
]
default_hooks = dict(logger=dict(interval=10), checkpoint=dict(interval=18))
