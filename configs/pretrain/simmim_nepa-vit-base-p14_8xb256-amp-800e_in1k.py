# SimMIM pretraining of the NEPA ViT-B/14 on ImageNet-1k: SimMIM with LayerScale, RoPE and QK-norm.
#
#   bash tools/dist_train.sh configs/pretrain/simmim_nepa-vit-base-p14_8xb256-amp-800e_in1k.py 8
#
# Hardware: 8 GPUs of 80 GB.
# Top-1 after fine-tuning: paper none, ours not run.
# Pixel scale and image size are NEPA's; crop, decoder, loss, optimizer and schedule are SimMIM's as mmpretrain has them. A mask
# hides 28 x 28 pixels at a time, 2 x 2 patches, where SimMIM's hides 32 x 32.
_base_ = [
    '../_base_/datasets/images_224.py',
    '../_base_/schedules/pretrain_bs4096_adamw.py',
    '../_base_/default_runtime.py',
]

model = dict(
    type='SimMIM',
    data_preprocessor=dict(type='SelfSupDataPreprocessor', mean=[127.5] * 3, std=[127.5] * 3, to_rgb=True),
    backbone=dict(type='nepa_mm.SimMIMNEPAViT', arch='base', img_size=224, patch_size=14, drop_path_rate=0.1),
    neck=dict(type='SimMIMLinearDecoder', in_channels=768, encoder_stride=14),
    head=dict(type='SimMIMHead', patch_size=14, loss=dict(type='PixelReconstructionLoss', criterion='L1', channel=3)))

train_pipeline = [
    dict(type='nepa_mm.LoadImage'),
    dict(type='RandomResizedCrop', scale=224, crop_ratio_range=(0.67, 1.0)),
    dict(type='RandomFlip', prob=0.5),
    dict(type='SimMIMMaskGenerator', input_size=224, mask_patch_size=28, model_patch_size=14, mask_ratio=0.6),
    dict(type='PackInputs'),
]
# 8 GPUs x 256 images = 2048
train_dataloader = dict(batch_size=256, dataset=dict(pipeline=train_pipeline))

# SimMIM keeps no EMA, and cuts the rate to a tenth instead of following a cosine.
optim_wrapper = dict(optimizer=dict(lr=1e-4 * 2048 / 512, betas=(0.9, 0.999)), clip_grad=dict(max_norm=5.0))
custom_hooks = []
param_scheduler = [
    dict(type='LinearLR', start_factor=5e-7 / 1e-4, by_epoch=True, begin=0, end=10, convert_to_iter_based=True),
    dict(type='MultiStepLR', milestones=[700], by_epoch=True, begin=10, end=800, convert_to_iter_based=True),
]
train_cfg = dict(max_epochs=800)
auto_scale_lr = dict(base_batch_size=2048)
