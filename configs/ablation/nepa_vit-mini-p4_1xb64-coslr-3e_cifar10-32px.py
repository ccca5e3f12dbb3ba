# Fine-tuning of the small ViT on CIFAR-10, the paper's recipe: what tools/analysis_tools/run_ablations.py ablates on a laptop.
#
#   python tools/train.py configs/ablation/nepa_vit-mini-p4_1xb64-coslr-3e_cifar10-32px.py
#
# Hardware: 2 CPU cores, about 2 minutes on the first 1,000 images of each class. Results: docs/ablations.md.
_base_ = [
    '../_base_/models/nepa_classifier.py',
    '../_base_/datasets/cifar10_32.py',
    '../_base_/schedules/finetune_bs64_adamw.py',
    '../_base_/default_runtime.py',
]

model = dict(
    data_preprocessor=dict(mean=[127.5] * 3, std=[127.5] * 3, to_rgb=True, num_classes=10),
    backbone=dict(
        arch=dict(embed_dims=128, num_layers=4, num_heads=4, feedforward_channels=512),
        img_size=32,
        patch_size=4,
        out_type='last_token',
        with_cls_token=False,
        use_abs_pos_embed=True,
        act='silu',
        gated_mlp=True,
        init_cfg=dict(checkpoint='work_dirs/nepa_vit-mini-p4_1xb64-400i_cifar10-32px/iter_400.pth')),
    # A list, which replaces the base's zeros: what is published was run so.
    head=dict(num_classes=10, in_channels=128, init_cfg=[dict(type='TruncNormal', layer='Linear', std=0.02)]),
    train_cfg=None)

optim_wrapper = dict(paramwise_cfg=dict(head_lr=1e-3))
param_scheduler = dict(decay=0.65, decay_end=1.0, decay_anneal='linear')
default_hooks = dict(logger=dict(interval=20))
