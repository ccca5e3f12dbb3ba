# NEPA pretraining of a ViT-Ti/14 on the 367 training images of CamVid without their labels, small enough for a laptop.
#
#   python tools/train.py configs/pretrain/nepa_vit-tiny-p14_1xb64-coslr-480e_camvid-112px.py
#
# Hardware: 2 CPU cores, about 50 minutes. For segmentation/nepa_vit-tiny-p14_upernet_1xb4-300i_camvid-224x224.py.
_base_ = [
    '../_base_/models/nepa.py',
    '../_base_/datasets/images_224.py',
    '../_base_/schedules/pretrain_bs64_adamw.py',
    '../_base_/default_runtime.py',
]

model = dict(backbone=dict(arch='tiny', img_size=112))

# Crops of 112 pixels from images of 480 x 360: objects are as large as in the crops that segmentation trains on
train_pipeline = [
    dict(type='nepa_mm.LoadImage'),
    dict(type='NumpyToPIL', to_rgb=True),
    dict(type='torchvision/RandomResizedCrop', size=112, scale=(0.03, 0.2), interpolation='bilinear'),
    dict(type='torchvision/RandomHorizontalFlip', p=0.5),
    dict(type='PILToNumpy', to_bgr=True),
    dict(type='PackInputs'),
]
train_dataloader = dict(
    batch_size=64,
    num_workers=1,
    dataset=dict(data_root='data/camvid', data_prefix='images/training', pipeline=train_pipeline))

optim_wrapper = dict(type='nepa_mm.Bf16OptimWrapper')
param_scheduler = dict(warmup=24, end=480)  # 5 iterations an epoch
train_cfg = dict(max_epochs=480)
custom_hooks = [dict(type='EMAHook', ema_type='nepa_mm.ForeachEMA', momentum=1 - 0.999, priority='ABOVE_NORMAL')]
default_hooks = dict(logger=dict(interval=20), checkpoint=dict(interval=60, max_keep_ckpts=1))
