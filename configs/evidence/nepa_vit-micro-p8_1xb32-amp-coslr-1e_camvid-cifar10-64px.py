# NEPA pretraining of a ViT of 4 blocks of width 64 on images of CamVid and CIFAR-10 without labels, for
# nepa_vit-micro-p8_upernet_1xb4-amp-400i_camvid-224x224.py: docs/evidence.md.
#
#   python tools/train.py configs/evidence/nepa_vit-micro-p8_1xb32-amp-coslr-1e_camvid-cifar10-64px.py
#
# Hardware: 1 CPU core, about 5 minutes.
_base_ = [
    '../_base_/models/nepa.py',
    '../_base_/datasets/camvid_cifar10_64_unlabelled.py',
    '../_base_/schedules/pretrain_bs64_adamw.py',
    '../_base_/default_runtime.py',
]

model = dict(
    backbone=dict(
        arch=dict(embed_dims=64, num_layers=4, num_heads=2, feedforward_channels=256), img_size=64, patch_size=8))

auto_scale_lr = dict(base_batch_size=32)
optim_wrapper = dict(type='nepa_mm.Bf16OptimWrapper')
param_scheduler = dict(warmup=0.1, end=1)  # 2342 iterations
train_cfg = dict(max_epochs=1)
custom_hooks = [  # the pictures of docs/evidence.md; training stays the same to the bit
    dict(
        type='nepa_mm.QueryPatchesHook',
        images=['data/camvid/images/validation/0016E5_07959.jpg', 'data/camvid/images/validation/0016E5_08077.jpg'],
        size=(144, 192),
        interval=781),
]
