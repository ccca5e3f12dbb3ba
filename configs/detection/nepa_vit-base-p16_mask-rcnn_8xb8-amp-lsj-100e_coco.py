# Mask R-CNN on a bidirectional NEPA ViT-B, COCO, by ViTDet's recipe as mmdet's projects have it.
#
#   bash tools/dist_train.sh configs/detection/nepa_vit-base-p16_mask-rcnn_8xb8-amp-lsj-100e_coco.py 8
#
# Hardware: 8 GPUs of 80 GB. Box and mask AP: paper none, ours not run.
# Patches are resampled from 14 to 16 pixels, for mmdet's strides of 4 to 64. ViTDet's attention in windows is left out: every
# block attends to all 64 x 64 patches.
_base_ = ['../_base_/models/nepa_mask-rcnn.py', '../_base_/datasets/coco_instance_1024.py', '../_base_/detection_runtime.py']

model = dict(
    backbone=dict(
        arch='base',
        drop_path_rate=0.1,
        with_cp=True,
        init_cfg=dict(checkpoint='work_dirs/nepa_vit-base-p14_8xb512-amp-coslr-1600e_in1k/epoch_1600.pth')))

# 8 GPUs x 8 images = 64
train_dataloader = dict(batch_size=8)
optim_wrapper = dict(
    type='nepa_mm.Bf16OptimWrapper',
    optimizer=dict(type='AdamW', lr=1e-4, betas=(0.9, 0.999), weight_decay=0.1),
    constructor='nepa_mm.LayerDecayOptimWrapperConstructor',
    paramwise_cfg=dict(layer_decay_rate=0.7))
# 100 epochs of 118,000 images: 184,375 iterations of 64; steps after 88 and 96
param_scheduler = [
    dict(type='LinearLR', start_factor=0.001, by_epoch=False, begin=0, end=250),
    dict(type='MultiStepLR', by_epoch=False, begin=0, end=184375, milestones=[163889, 177546], gamma=0.1),
]
train_cfg = dict(type='nepa_mm.AccumulatingIterLoop', max_iters=184375, val_interval=5000)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
auto_scale_lr = dict(base_batch_size=64)
