# MAE pretraining of the NEPA ViT-B/14 on ImageNet-1k: MAE with LayerScale, RoPE and QK-norm at once;
# Table 7 has one at a time, of ViT-L (mae_nepa-vit-large-p16).
#
#   bash tools/dist_train.sh configs/pretrain/mae_nepa-vit-base-p14_8xb512-amp-coslr-1600e_in1k.py 8
#
# Hardware: 8 GPUs of 80 GB.
# Top-1 after fine-tuning (classification/mae_nepa-vit-base-p14_8xb128-coslr-100e_in1k.py): paper none, ours not run.
# Images, crop and pixel scale are NEPA's, as in fine-tuning; decoder, mask, loss and optimizer are MAE's as mmpretrain has them.
_base_ = [
    '../_base_/models/mae_nepa.py',
    '../_base_/datasets/images_224.py',
    '../_base_/schedules/pretrain_bs4096_adamw.py',
    '../_base_/default_runtime.py',
]

model = dict(
    backbone=dict(arch='base', patch_size=14),
    neck=dict(num_patches=16 * 16, patch_size=14, embed_dim=768),
    head=dict(patch_size=14))

# 8 GPUs x 512 images = 4096
train_dataloader = dict(batch_size=512)

# MAE clips no gradients and keeps no EMA.
optim_wrapper = dict(optimizer=dict(lr=1.5e-4 * 4096 / 256), clip_grad=None)
custom_hooks = []
param_scheduler = dict(warmup=40, end=1600)
train_cfg = dict(max_epochs=1600)
