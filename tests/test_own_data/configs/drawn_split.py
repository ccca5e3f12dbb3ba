# Classes of images in data: 12 classes, 36 to train on, 12 to validate. By tools/new_config.py, to be edited.
#
#   python tools/train.py drawn_split.py
_base_ = ['../../../configs/_base_/' + name for name in (
    'models/nepa_classifier.py', 'datasets/own_classes.py', 'schedules/finetune_bs64_adamw.py', 'default_runtime.py')]

classes = '{{ fileDirname }}/drawn_split_classes.txt'  # a name on each line
images = dict(type='CustomDataset', data_root='data', metainfo=dict(classes=classes))

model = dict(
    data_preprocessor=dict(num_classes=12, mean=[127.5] * 3, std=[127.5] * 3, to_rgb=True),
    backbone=dict(
        arch=dict(embed_dims=128, num_layers=4, num_heads=4, feedforward_channels=512), img_size=64, patch_size=8,
        frozen_stages=-1, layer_scale_init_value=0.1, init_cfg=None),
    head=dict(num_classes=12, in_channels=128),
    train_cfg=None)

load, pack = dict(type='nepa_mm.LoadImage'), dict(type='PackInputs')
train_pipeline = [
    load, dict(type='RandomResizedCrop', scale=64, crop_ratio_range=(0.3, 1.0), backend='pillow', interpolation='bicubic'),
    dict(type='RandomFlip', prob=0.5), pack]
test_pipeline = [
    load, dict(type='ResizeEdge', scale=64, backend='pillow', interpolation='bicubic'), dict(type='CenterCrop', crop_size=64),
    pack]
train_dataloader = dict(batch_size=8, num_workers=1, dataset=dict(
    images, ann_file='{{ fileDirname }}/drawn_split_train.txt', pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(images, ann_file='{{ fileDirname }}/drawn_split_val.txt', pipeline=test_pipeline))
test_dataloader = val_dataloader
val_evaluator = test_evaluator = dict(type='Accuracy', topk=(1, 5))

auto_scale_lr = dict(base_batch_size=8)  # reached by accumulation on any number of GPUs
optim_wrapper = dict(optimizer=dict(lr=0.000354))
param_scheduler = dict(decay=1.0, warmup=40, layerwise_warmup=True, end=200)
train_cfg = dict(max_epochs=200, val_interval=20)
default_hooks = dict(logger=dict(interval=40), checkpoint=dict(interval=20))
