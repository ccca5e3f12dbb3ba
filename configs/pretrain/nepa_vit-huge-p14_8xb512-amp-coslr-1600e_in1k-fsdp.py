# NEPA pretraining of ViT-H/14 (631 M parameters) on ImageNet-1k by the released recipe, shared out over all GPUs by FSDP2.
#
#   bash tools/dist_train.sh configs/pretrain/nepa_vit-huge-p14_8xb512-amp-coslr-1600e_in1k-fsdp.py 8
#
# Hardware: 8 GPUs of 80 GB; any other number that divides 4096 images accumulates (docs/large_scale.md).
# Top-1 after fine-tuning: paper none, ours not run. The 1600 epochs are ViT-B's.
_base_ = '../_base_/recipes/nepa_1600e_in1k.py'

model = dict(backbone=dict(arch='huge', with_cp=True))

default_hooks = dict(checkpoint=dict(sharded=True))  # each GPU writes its pieces, to a folder
model_wrapper_cfg = dict(type='nepa_mm.FullyShardedDataParallel', blocks=['Block'])
