# Table 1b, fifth row, and Table 9, fine-tuning: with LayerScale, RoPE and QK-norm; GELU instead of SwiGLU.
#
#   bash tools/dist_train.sh configs/ablation/nepa_vit-base-p14_8xb128-coslr-100e_in1k-paper-gelu.py 8
#
# Hardware: 8 GPUs. Top-1: paper 83.6 (81.1 after 100k steps of 2048 images), ours not run.
_base_ = '../classification/nepa_vit-base-p14_8xb128-coslr-100e_in1k-paper.py'

model = dict(
    backbone=dict(
        act='gelu',
        gated_mlp=False,
        init_cfg=dict(checkpoint='work_dirs/nepa_vit-base-p14_8xb512-amp-coslr-1600e_in1k-paper-gelu/epoch_1600.pth')))
