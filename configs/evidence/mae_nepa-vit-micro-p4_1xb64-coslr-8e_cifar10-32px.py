# MAE pretraining of the same encoder on the same images, crops and epochs as nepa_vit-micro-p4_1xb64-coslr-8e_cifar10-32px.py:
# docs/evidence.md. Decoder, mask and loss are MAE's as mmpretrain has them.
#
#   python tools/train.py configs/evidence/mae_nepa-vit-micro-p4_1xb64-coslr-8e_cifar10-32px.py
#
# Hardware: 1 CPU core, about 15 minutes.
_base_ = [
    '../_base_/models/mae_nepa.py',
    '../_base_/datasets/small_images_32.py',
    '../_base_/datasets/cifar10_views.py',
    '../_base_/schedules/pretrain_bs64_adamw.py',
    '../_base_/default_runtime.py',
]

model = dict(
    backbone=dict(
        arch=dict(embed_dims=64, num_layers=4, num_heads=2, feedforward_channels=256), img_size=32, patch_size=4),
    neck=dict(
        num_patches=8 * 8, patch_size=4, embed_dim=64, decoder_embed_dim=64, decoder_depth=2, decoder_num_heads=2),
    head=dict(patch_size=4))

optim_wrapper = dict(clip_grad=None)  # MAE clips no gradients
train_cfg = dict(val_interval=8)
