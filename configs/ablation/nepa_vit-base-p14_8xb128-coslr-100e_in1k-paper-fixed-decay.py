# Table 8: layer-wise decay fixed at 0.65, not rising from 0.35 to 1.
#
#   bash tools/dist_train.sh configs/ablation/nepa_vit-base-p14_8xb128-coslr-100e_in1k-paper-fixed-decay.py 8
#
# Hardware: 8 GPUs. Top-1: paper 83.0, ours not run.
_base_ = '../classification/nepa_vit-base-p14_8xb128-coslr-100e_in1k-paper.py'

param_scheduler = dict(decay=0.65, decay_end=None)
