# NEPA pretraining of a ViT of 4 blocks of width 64 on CIFAR-10's 50,000 training images without labels: docs/evidence.md.
# Images are folders, cifar10/train/<class>/<n>.jpg.
#
#   python tools/train.py configs/evidence/nepa_vit-micro-p4_1xb64-coslr-8e_cifar10-32px.py
#
# Hardware: 1 CPU core, about 25 minutes.
_base_ = [
    '../_base_/models/nepa.py',
    '../_base_/datasets/small_images_32.py',
    '../_base_/datasets/cifar10_views.py',
    '../_base_/schedules/pretrain_bs64_adamw.py',
    '../_base_/default_runtime.py',
]

model = dict(
    backbone=dict(
        arch=dict(embed_dims=64, num_layers=4, num_heads=2, feedforward_channels=256), img_size=32, patch_size=4))

# 781 iterations an epoch; docs/evidence.md fine-tunes from several
default_hooks = dict(checkpoint=dict(interval=1, max_keep_ckpts=-1))
train_cfg = dict(val_interval=8)
