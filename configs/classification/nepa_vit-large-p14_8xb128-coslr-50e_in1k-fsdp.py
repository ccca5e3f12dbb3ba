# Fine-tuning of a NEPA ViT-L/14 on ImageNet-1k, the release's recipe, shared out over all GPUs by FSDP2.
#
#   bash tools/dist_train.sh configs/classification/nepa_vit-large-p14_8xb128-coslr-50e_in1k-fsdp.py 8
#
# Hardware: 8 GPUs, of less memory than without. Top-1: release 85.40, ours not run.
# The same training as nepa_vit-large-p14_8xb128-coslr-50e_in1k.py but for the last bits.
_base_ = './nepa_vit-large-p14_8xb128-coslr-50e_in1k.py'

model_wrapper_cfg = dict(type='nepa_mm.FullyShardedDataParallel', blocks=['Block'])
