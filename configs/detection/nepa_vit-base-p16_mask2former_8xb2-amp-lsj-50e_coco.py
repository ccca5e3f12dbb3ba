# Mask2Former for instances on a bidirectional NEPA ViT-B, COCO, by mmdet's recipe; the backbone's rates decay by layer.
#
#   bash tools/dist_train.sh configs/detection/nepa_vit-base-p16_mask2former_8xb2-amp-lsj-50e_coco.py 8
#
# Hardware: 8 GPUs of 80 GB. Box and mask AP: paper none, ours not run.
# Patches are resampled from 14 to 16 pixels, and the four scales are ViTDet's pyramid.
_base_ = ['../_base_/models/nepa_mask2former.py', '../_base_/datasets/coco_instance_1024.py', '../_base_/detection_runtime.py']

model = dict(
    backbone=dict(
        arch='base',
        drop_path_rate=0.1,
        with_cp=True,
        init_cfg=dict(checkpoint='work_dirs/nepa_vit-base-p14_8xb512-amp-coslr-1600e_in1k/epoch_1600.pth')))

# 8 GPUs x 2 images = 16
train_dataloader = dict(batch_size=2)
optim_wrapper = dict(
    type='nepa_mm.Bf16OptimWrapper',
    optimizer=dict(type='AdamW', lr=1e-4, betas=(0.9, 0.999), weight_decay=0.05),
    clip_grad=dict(max_norm=0.01),
    constructor='nepa_mm.LayerDecayOptimWrapperConstructor',
    paramwise_cfg=dict(layer_decay_rate=0.7))
# 50 epochs of 118,000 images: 368,750 iterations of 16; steps after 44 and 48
param_scheduler = dict(type='MultiStepLR', by_epoch=False, begin=0, end=368750, milestones=[327778, 355092], gamma=0.1)
train_cfg = dict(type='nepa_mm.AccumulatingIterLoop', max_iters=368750, val_interval=5000)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
auto_scale_lr = dict(base_batch_size=16)
