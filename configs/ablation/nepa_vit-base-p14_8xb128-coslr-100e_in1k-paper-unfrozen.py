# The patch embedding is trained in fine-tuning, not frozen, as in Table 1d, but of the whole model.
#
#   bash tools/dist_train.sh configs/ablation/nepa_vit-base-p14_8xb128-coslr-100e_in1k-paper-unfrozen.py 8
#
# Hardware: 8 GPUs. Top-1: paper none; with LayerScale alone it is -ls-unfrozen; ours not run.
_base_ = '../classification/nepa_vit-base-p14_8xb128-coslr-100e_in1k-paper.py'

model = dict(backbone=dict(frozen_stages=-1))
