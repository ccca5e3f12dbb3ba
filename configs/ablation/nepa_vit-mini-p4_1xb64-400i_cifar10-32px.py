# Pretraining of a small ViT on CIFAR-10, the paper's variant: what tools/analysis_tools/run_ablations.py ablates on a laptop.
# Images are folders, cifar10/train/<class>/<n>.jpg.
#
#   python tools/train.py configs/ablation/nepa_vit-mini-p4_1xb64-400i_cifar10-32px.py
#
# Hardware: 2 CPU cores, about 2 minutes. Curves of all ablations: docs/ablations.md.
_base_ = ['../_base_/models/nepa.py', '../_base_/default_runtime.py']

model = dict(
    backbone=dict(
        arch=dict(embed_dims=128, num_layers=4, num_heads=4, feedforward_channels=512),
        img_size=32,
        patch_size=4,
        with_cls_token=False,
        use_abs_pos_embed=True,
        act='silu',
        gated_mlp=True))

train_pipeline = [
    dict(type='nepa_mm.LoadImage'),
    dict(type='RandomResizedCrop', scale=32, crop_ratio_range=(0.3, 1.0), backend='pillow', interpolation='bilinear'),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PackInputs'),
]
train_dataloader = dict(
    batch_size=64,
    num_workers=1,
    persistent_workers=True,
    sampler=dict(type='InfiniteSampler', shuffle=True),
    collate_fn=dict(type='default_collate'),
    dataset=dict(
        type='CustomDataset', data_root='data/cifar10', data_prefix='train', with_label=False, pipeline=train_pipeline))

optim_wrapper = dict(
    optimizer=dict(type='AdamW', lr=2e-3, betas=(0.9, 0.95), weight_decay=0.05),
    clip_grad=dict(max_norm=1.0),
    constructor='nepa_mm.LayerDecayOptimWrapperConstructor',
    paramwise_cfg=dict(layer_decay_rate=1.0))
param_scheduler = dict(type='nepa_mm.LayerDecayCosineLR', decay=1.0, warmup=40, end=400, by_epoch=False)
train_cfg = dict(type='nepa_mm.AccumulatingIterLoop', max_iters=400)
auto_scale_lr = dict(base_batch_size=64)
log_processor = dict(by_epoch=False, window_size=10)
default_hooks = dict(logger=dict(interval=10), checkpoint=dict(by_epoch=False, interval=400))
