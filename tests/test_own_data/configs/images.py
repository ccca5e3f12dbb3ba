# Pretraining on 16 images of data. By tools/new_config.py, to be edited.
#
#   python tools/train.py images.py
_base_ = ['../../../configs/_base_/' + name for name in (
    'models/nepa.py', 'datasets/images_224.py', 'schedules/pretrain_bs64_adamw.py', 'default_runtime.py')]

model = dict(
    backbone=dict(
        arch=dict(embed_dims=128, num_layers=4, num_heads=4, feedforward_channels=512), img_size=32, patch_size=4, init_cfg=None))

train_pipeline = [dict(step, size=32) if 'size' in step else step for step in _base_.train_pipeline]
train_dataloader = dict(batch_size=8, num_workers=1, dataset=dict(data_root='data', data_prefix='train', pipeline=train_pipeline))

auto_scale_lr = dict(base_batch_size=8)  # reached by accumulation on any number of GPUs
optim_wrapper = dict(optimizer=dict(lr=0.000707))
param_scheduler = dict(warmup=40, end=1600)
train_cfg = dict(max_epochs=1600)
default_hooks = dict(logger=dict(interval=100), checkpoint=dict(interval=160))
