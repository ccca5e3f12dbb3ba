# MAE pretraining of the same encoder on the same images, crops and epochs as nepa_vit-micro-p8_1xb32-amp-coslr-1e_camvid-cifar10-64px.py:
# docs/evidence.md.
#
#   python tools/train.py configs/evidence/mae_nepa-vit-micro-p8_1xb32-amp-coslr-1e_camvid-cifar10-64px.py
#
# Hardware: 1 CPU core, about 5 minutes.
_base_ = [
    '../_base_/models/mae_nepa.py',
    '../_base_/datasets/camvid_cifar10_64_unlabelled.py',
    '../_base_/schedules/pretrain_bs64_adamw.py',
    '../_base_/default_runtime.py',
]

model = dict(
    backbone=dict(
        arch=dict(embed_dims=64, num_layers=4, num_heads=2, feedforward_channels=256), img_size=64, patch_size=8),
    neck=dict(
        num_patches=8 * 8, patch_size=8, embed_dim=64, decoder_embed_dim=64, decoder_depth=2, decoder_num_heads=2),
    head=dict(patch_size=8))

auto_scale_lr = dict(base_batch_size=32)
optim_wrapper = dict(type='nepa_mm.Bf16OptimWrapper', clip_grad=None)  # MAE clips no gradients
param_scheduler = dict(warmup=0.1, end=1)
train_cfg = dict(max_epochs=1)
