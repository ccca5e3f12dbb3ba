# Table 1d: the patch embedding is trained in fine-tuning, not frozen.
#
#   bash tools/dist_train.sh configs/ablation/nepa_vit-base-p14_8xb128-coslr-100e_in1k-paper-unfrozen.py 8
#
# Hardware: 8 GPUs. Top-1: paper, Table 1d, ours not run.
_base_ = '../classification/nepa_vit-base-p14_8xb128-coslr-100e_in1k-paper.py'

model = dict(backbone=dict(frozen_stages=-1))
