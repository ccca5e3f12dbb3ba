# NEPA pretraining of ViT-L/14 on ImageNet-1k, the released variant ([CLS], GELU).
#
#   bash tools/dist_train.sh configs/pretrain/nepa_vit-large-p14_8xb256-amp-coslr-800e_in1k.py 8
#
# Hardware: 8 GPUs of 80 GB; the paper took about 5 days on 8 H100.
# Epochs are the paper's; the release's script says 1600.
# Top-1 after fine-tuning (classification/nepa_vit-large-p14_8xb128-coslr-50e_in1k.py): release 85.40, ours not run.
_base_ = ['../_base_/models/nepa.py', '../_base_/datasets/images_224.py', '../_base_/default_runtime.py']

model = dict(backbone=dict(arch='large'))

# 8 GPUs x 256 images x 2 accumulated = 4096
train_dataloader = dict(batch_size=256)

optim_wrapper = dict(
    type='nepa_mm.Bf16OptimWrapper',
    accumulative_counts=2,
    optimizer=dict(type='AdamW', lr=3e-4 * 4096 / 256, betas=(0.9, 0.95), weight_decay=0.05),
    clip_grad=dict(max_norm=1.0),
    constructor='nepa_mm.LayerDecayOptimWrapperConstructor',  # for its rule of weight decay: none on 1-D parameters
    paramwise_cfg=dict(layer_decay_rate=1.0))

# Warm-up over 2.5 % of training
param_scheduler = [
    dict(type='LinearLR', start_factor=1e-4, by_epoch=True, begin=0, end=20, convert_to_iter_based=True),
    dict(type='CosineAnnealingLR', T_max=800 - 20, by_epoch=True, begin=20, end=800, convert_to_iter_based=True),
]
train_cfg = dict(by_epoch=True, max_epochs=800)

# The hook counts iterations, two to a step: the square root averages over as many steps.
custom_hooks = [dict(type='EMAHook', momentum=1 - 0.9999**0.5, priority='ABOVE_NORMAL')]
auto_scale_lr = dict(base_batch_size=4096 // 2)  # of one iteration: mmengine does not count accumulation
