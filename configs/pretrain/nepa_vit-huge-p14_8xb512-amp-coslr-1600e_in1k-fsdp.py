# NEPA pretraining of ViT-H/14 (631 M parameters) on ImageNet-1k by the released recipe, shared out over all GPUs by FSDP.
#
#   bash tools/dist_train.sh configs/pretrain/nepa_vit-huge-p14_8xb512-amp-coslr-1600e_in1k-fsdp.py 8
#
# Hardware: 8 GPUs of 80 GB; on more machines with a smaller batch each (NNODES and the like). FlexibleRunner cannot accumulate:
# GPUs x train_dataloader.batch_size must be 4096.
# Top-1 after fine-tuning: paper none, ours not run. The 1600 epochs are ViT-B's.
_base_ = '../_base_/recipes/nepa_1600e_in1k.py'

model = dict(backbone=dict(arch='huge', with_cp=True))

runner_type = 'FlexibleRunner'
strategy = dict(
    type='nepa_mm.FSDPStrategy',
    blocks=['Block'],
    # Parameters, gradients and optimizer state are in pieces; SHARD_GRAD_OP keeps parameters whole: faster, 2.5 GB more
    model_wrapper=dict(sharding_strategy='FULL_SHARD', backward_prefetch='BACKWARD_PRE', limit_all_gathers=True))

custom_hooks = [dict(type='nepa_mm.ShardedEMAHook', momentum=1 - 0.9999, priority='ABOVE_NORMAL')]
