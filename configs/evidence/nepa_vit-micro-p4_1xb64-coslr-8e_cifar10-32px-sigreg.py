# NEPA pretraining on CIFAR-10 without stop-gradient, held apart by SIGReg in a projected space: docs/beyond.md.
#
#   python tools/train.py configs/evidence/nepa_vit-micro-p4_1xb64-coslr-8e_cifar10-32px-sigreg.py
#
# Hardware: 1 CPU core, about an hour.
_base_ = [
    '../_base_/datasets/small_images_32.py',
    '../_base_/datasets/cifar10_views.py',
    '../_base_/schedules/pretrain_bs64_adamw.py',
    '../_base_/default_runtime.py',
]

model = dict(
    type='nepa_mm.NEPA',
    data_preprocessor=dict(type='nepa_mm.FusedSelfSupDataPreprocessor', mean=[127.5] * 3, std=[127.5] * 3, to_rgb=True),
    backbone=dict(
        type='nepa_mm.NEPAViT', img_size=32, patch_size=4,
        arch=dict(embed_dims=64, num_layers=4, num_heads=2, feedforward_channels=256)),
    head=dict(
        type='nepa_mm.ProjectedLosses',
        projector=dict(type='nepa_mm.Projector', in_channels=64, hidden_channels=256, out_channels=32),
        losses=[
            dict(type='nepa_mm.MultiEmbeddingLoss', embed_dims=32, distance='mse', stop_grad=False),
            dict(type='nepa_mm.SIGReg', num_projections=64, loss_weight=1.),
        ]))

# 781 iterations an epoch
default_hooks = dict(checkpoint=dict(interval=1, max_keep_ckpts=-1))
train_cfg = dict(val_interval=8)
