# NEPA pretraining of ViT-g/14 (1,011 M parameters) on ImageNet-1k by the released recipe, shared out over all GPUs by FSDP2.
#
#   bash tools/dist_train.sh configs/pretrain/nepa_vit-giant-p14_8xb512-amp-coslr-1600e_in1k-fsdp.py 8
#
# Hardware: 8 GPUs of 80 GB; on M machines, a copy of the model on each: --cfg-options model_wrapper_cfg.replicas=M.
# Top-1 after fine-tuning: paper none, ours not run. The 1600 epochs are ViT-B's.
_base_ = '../_base_/recipes/nepa_1600e_in1k.py'

model = dict(backbone=dict(arch='giant', with_cp=True))

# 2 GB are gathered for a pass, not 4; the optimizer's parameters and all sums stay float32 (docs/large_scale.md)
model_wrapper_cfg = dict(type='nepa_mm.FullyShardedDataParallel', blocks=['Block'], param_dtype='bfloat16')
