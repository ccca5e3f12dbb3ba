# Table 1b, second row, fine-tuning: with LayerScale; no RoPE, QK-norm or gated MLP.
#
#   bash tools/dist_train.sh configs/ablation/nepa_vit-base-p14_8xb128-coslr-100e_in1k-paper-ls.py 8
#
# Hardware: 8 GPUs. Top-1: paper 77.4 after 100k steps of 2048 images, ours not run.
_base_ = '../classification/nepa_vit-base-p14_8xb128-coslr-100e_in1k-paper.py'

model = dict(
    backbone=dict(
        rope=None,
        qk_norm=None,
        act='gelu',
        gated_mlp=False,
        init_cfg=dict(checkpoint='work_dirs/nepa_vit-base-p14_8xb512-amp-coslr-1600e_in1k-paper-ls/epoch_1600.pth')))
