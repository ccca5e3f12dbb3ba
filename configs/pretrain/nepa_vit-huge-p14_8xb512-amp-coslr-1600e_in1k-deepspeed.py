# NEPA pretraining of ViT-H/14 on ImageNet-1k by the released recipe, with DeepSpeed's ZeRO (pip install deepspeed).
#
#   bash tools/dist_train.sh configs/pretrain/nepa_vit-huge-p14_8xb512-amp-coslr-1600e_in1k-deepspeed.py 8
#
# Hardware: 8 GPUs of 80 GB. FlexibleRunner cannot accumulate: GPUs x train_dataloader.batch_size must be 4096. Checkpoints are
# DeepSpeed's own, folders with the optimizer's pieces; -fsdp.py writes common ones. No average is kept: DeepSpeed's weights are
# bfloat16 (float32 only in its optimizer), and in those a share of 1e-4 is lost.
# Top-1 after fine-tuning: paper none, ours not run, nor anything else with DeepSpeed. The 1600 epochs are ViT-B's.
_base_ = [
    '../_base_/models/nepa.py',
    '../_base_/datasets/images_224.py',
    '../_base_/default_runtime.py',
]

model = dict(backbone=dict(arch='huge', with_cp=True))

# 8 GPUs x 512 images = 4096
train_dataloader = dict(batch_size=512)

runner_type = 'FlexibleRunner'
strategy = dict(
    type='DeepSpeedStrategy',
    bf16=dict(enabled=True),
    inputs_to_half=['inputs'],
    gradient_clipping=1.0,  # in place of optim_wrapper.clip_grad
    zero_optimization=dict(stage=2, overlap_comm=True))  # optimizer state and gradients in pieces

# ../_base_/schedules/pretrain_bs4096_adamw.py, without what DeepSpeed does itself
optim_wrapper = dict(
    type='DeepSpeedOptimWrapper',
    optimizer=dict(type='AdamW', lr=3e-4 * 4096 / 256, betas=(0.9, 0.95), weight_decay=0.05),
    constructor='nepa_mm.LayerDecayOptimWrapperConstructor',
    paramwise_cfg=dict(layer_decay_rate=1.0))
param_scheduler = dict(
    type='nepa_mm.LayerDecayCosineLR', decay=1.0, warmup=40, end=1600, by_epoch=True, convert_to_iter_based=True)
train_cfg = dict(type='nepa_mm.AccumulatingEpochLoop', max_epochs=1600)
auto_scale_lr = dict(base_batch_size=4096)
