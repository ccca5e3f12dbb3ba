# The demo's pretraining, laptop size: the same recipe on drawn shapes (tools/demo/draw_shapes.py data/shapes).
#
#   python tools/train.py configs/pretrain/nepa_vit-mini-p8_1xb64-coslr-18e_shapes-48px.py
#
# Hardware: 2 CPU cores, about 2 minutes.
_base_ = [
    '../_base_/models/nepa.py',
    '../_base_/datasets/small_images_32.py',
    '../_base_/schedules/pretrain_bs64_adamw.py',
    '../_base_/default_runtime.py',
]

model = dict(
    backbone=dict(
        arch=dict(embed_dims=128, num_layers=4, num_heads=4, feedforward_channels=512), img_size=48, patch_size=8))

train_pipeline = [dict(step, scale=48) if 'scale' in step else step for step in _base_.train_pipeline]
train_dataloader = dict(dataset=dict(data_root='data/shapes/imagenet', pipeline=train_pipeline))

optim_wrapper = dict(optimizer=dict(lr=3e-3))
param_scheduler = dict(warmup=2, end=18)
train_cfg = dict(max_epochs=18)
custom_hooks = [
    dict(type='EMAHook', ema_type='nepa_mm.ForeachEMA', momentum=1 - 0.99, priority='ABOVE_NORMAL'),
    # What the model sees in three images, in vis_data/vis_image/ of the work directory
    dict(type='nepa_mm.QueryPatchesHook', images=3, interval=222, queries=[(2, 3), (4, 4)], layers=2),
]
default_hooks = dict(logger=dict(interval=10), checkpoint=dict(interval=18))
