# MAE pretraining of a ViT-L/16 with RoPE on ImageNet-1k (Table 7), beside a learned position embedding.
#
#   bash tools/dist_train.sh configs/pretrain/mae_nepa-vit-large-p16_8xb256-amp-coslr-1600e_in1k-rope.py 8
#
# Hardware: 8 GPUs of 80 GB.
# Top-1 after fine-tuning (classification/mae_nepa-vit-large-p16_8xb128-coslr-50e_in1k-rope.py): paper 85.6, ours not run.
# Images, crop and pixel scale are NEPA's, as in fine-tuning; decoder, mask, loss and optimizer are MAE's as mmpretrain has them.
_base_ = [
    '../_base_/models/mae_nepa.py',
    '../_base_/datasets/images_224.py',
    '../_base_/schedules/pretrain_bs4096_adamw.py',
    '../_base_/default_runtime.py',
]

model = dict(
    backbone=dict(arch='large', patch_size=16, use_abs_pos_embed=True, qk_norm=None, layer_scale_init_value=None),
    neck=dict(num_patches=14 * 14, patch_size=16, embed_dim=1024),
    head=dict(patch_size=16))

# 8 GPUs x 256 images x 2 accumulated = 4096
train_dataloader = dict(batch_size=256)

# MAE clips no gradients and keeps no EMA.
optim_wrapper = dict(accumulative_counts=2, optimizer=dict(lr=1.5e-4 * 4096 / 256), clip_grad=None)
custom_hooks = []
param_scheduler = dict(warmup=40, end=1600)
train_cfg = dict(max_epochs=1600)
