# Table 1b, fourth row, fine-tuning: with LayerScale, RoPE and gated MLP; no QK-norm.
#
#   bash tools/dist_train.sh configs/ablation/nepa_vit-base-p14_8xb128-coslr-100e_in1k-paper-ls-rope-gated.py 8
#
# Hardware: 8 GPUs. Top-1: paper fails, ours not run.
_base_ = '../classification/nepa_vit-base-p14_8xb128-coslr-100e_in1k-paper.py'

model = dict(
    backbone=dict(
        qk_norm=None,
        init_cfg=dict(checkpoint='work_dirs/nepa_vit-base-p14_8xb512-amp-coslr-1600e_in1k-paper-ls-rope-gated/epoch_1600.pth')))
