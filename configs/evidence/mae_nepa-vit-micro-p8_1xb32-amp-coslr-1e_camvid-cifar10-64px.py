# MAE pretraining of the same encoder on the same images, crops and epochs as nepa_vit-micro-p8_1xb32-amp-coslr-1e_camvid-cifar10-64px.py:
# docs/evidence.md.
#
#   python tools/train.py configs/evidence/mae_nepa-vit-micro-p8_1xb32-amp-coslr-1e_camvid-cifar10-64px.py
#
# Hardware: 1 CPU core, about 5 minutes.
_base_ = [
    '../_base_/datasets/camvid_cifar10_64_unlabelled.py',
    '../_base_/schedules/pretrain_bs64_adamw.py',
    '../_base_/default_runtime.py',
]

model = dict(
    type='MAE',
    data_preprocessor=dict(type='SelfSupDataPreprocessor', mean=[127.5] * 3, std=[127.5] * 3, to_rgb=True),
    backbone=dict(
        type='nepa_mm.MAENEPAViT',
        arch=dict(embed_dims=64, num_layers=4, num_heads=2, feedforward_channels=256),
        img_size=64,
        patch_size=8,
        mask_ratio=0.75),
    neck=dict(
        type='MAEPretrainDecoder',
        num_patches=8 * 8,
        patch_size=8,
        embed_dim=64,
        decoder_embed_dim=64,
        decoder_depth=2,
        decoder_num_heads=2,
        init_cfg=dict(type='Xavier', layer='Linear', distribution='uniform')),  # the encoder brings its own
    head=dict(
        type='MAEPretrainHead', norm_pix=True, patch_size=8, loss=dict(type='PixelReconstructionLoss', criterion='L2')))

train_dataloader = dict(batch_size=32)
auto_scale_lr = dict(base_batch_size=32)
optim_wrapper = dict(type='nepa_mm.Bf16OptimWrapper', clip_grad=None)  # MAE clips no gradients
param_scheduler = dict(warmup=0.1, end=1)
train_cfg = dict(max_epochs=1)
