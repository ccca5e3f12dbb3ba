# Segmentation of data: 2 classes, images 5 to train on, 1 to validate. By tools/new_config.py, to be edited.
#
#   python tools/train.py sigmoid.py
_base_ = ['../../../configs/_base_/' + name for name in (
    'models/nepa_upernet.py', 'datasets/own_masks.py', 'schedules/300i_adamw.py', 'segmentation_runtime.py')]

classes = ['background', 'foreground']
images = dict(type='nepa_mm.SegPairs', data_root='data', metainfo=dict(classes=classes))
norm_cfg = dict(type='BN', requires_grad=True)
model = dict(
    data_preprocessor=dict(size=(32, 32)),
    backbone=dict(
        arch=dict(embed_dims=128, num_layers=4, num_heads=4, feedforward_channels=512), img_size=32, patch_size=4,
        out_indices=[0, 1, 2, 3], layer_scale_init_value=0.1, init_cfg=None),
    neck=dict(embed_dim=128, norm_cfg=norm_cfg),
    decode_head=dict(
        in_channels=[128] * 4, channels=32, num_classes=2, norm_cfg=norm_cfg, out_channels=1, threshold=0.5,
        loss_decode=dict(use_sigmoid=True)),
    auxiliary_head=dict(
        in_channels=128, channels=16, num_classes=2, norm_cfg=norm_cfg, out_channels=1, threshold=0.5,
        loss_decode=dict(use_sigmoid=True)),
    test_cfg=dict(mode='slide', crop_size=(32, 32), stride=(21, 21)))
load_labels = dict(type='nepa_mm.LoadSegAnnotations', values={value: int(value > 127) for value in range(256)})
train_pipeline = [
    dict(type='nepa_mm.LoadImage'), load_labels,
    dict(type='RandomResize', scale=(224, 56), ratio_range=(0.5, 2.0), keep_ratio=True),
    dict(type='nepa_mm.RandomCrop', crop_size=(32, 32), cat_max_ratio=0.75), dict(type='RandomFlip', prob=0.5),
    dict(type='nepa_mm.PhotoMetricDistortion'), dict(type='nepa_mm.PackSegInputs')]
test_pipeline = [dict(type='LoadImageFromFile', imdecode_backend='pillow'), load_labels, dict(type='nepa_mm.PackSegInputs')]
train_dataloader = dict(batch_size=4, num_workers=1, dataset=dict(
    images, ann_file='{{ fileDirname }}/sigmoid_train.txt', pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(images, ann_file='{{ fileDirname }}/sigmoid_val.txt', pipeline=test_pipeline))
test_dataloader = val_dataloader

optim_wrapper = dict(optimizer=dict(lr=0.001))
param_scheduler = [dict(_base_.param_scheduler[0], end=400), dict(_base_.param_scheduler[1], begin=400, end=4000)]
train_cfg = dict(max_iters=4000, val_interval=2000)
default_hooks = dict(logger=dict(interval=50), checkpoint=dict(interval=2000))
