# Table 1d: the patch embedding of a ViT with LayerScale (-ls) is trained in fine-tuning, not frozen.
#
#   bash tools/dist_train.sh configs/ablation/nepa_vit-base-p14_8xb128-coslr-100e_in1k-paper-ls-unfrozen.py 8
#
# Hardware: 8 GPUs. Top-1: paper 73.1 after 100k steps of 2048 images (frozen 77.4), ours not run.
_base_ = '../classification/nepa_vit-base-p14_8xb128-coslr-100e_in1k-paper.py'

model = dict(
    backbone=dict(
        rope=None,
        qk_norm=None,
        act='gelu',
        gated_mlp=False,
        frozen_stages=-1,
        init_cfg=dict(checkpoint='work_dirs/nepa_vit-base-p14_8xb512-amp-coslr-1600e_in1k-paper-ls/epoch_1600.pth')))
