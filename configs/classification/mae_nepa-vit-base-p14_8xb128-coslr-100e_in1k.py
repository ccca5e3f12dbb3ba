# Fine-tuning of a NEPA ViT-B/14 that MAE pretrained, on ImageNet-1k: the release's recipe, only the weights
# change. MAE with LayerScale, RoPE and QK-norm at once; Table 7 has one at a time, of ViT-L (mae_nepa-vit-large-p16).
#
#   bash tools/dist_train.sh configs/classification/mae_nepa-vit-base-p14_8xb128-coslr-100e_in1k.py 8
#
# Hardware: 8 GPUs. Top-1: paper none, ours not run.
# The weights come from pretrain/mae_nepa-vit-base-p14_8xb512-amp-coslr-1600e_in1k.py.
_base_ = './nepa_vit-base-p14_8xb128-coslr-100e_in1k.py'

model = dict(
    backbone=dict(
        init_cfg=dict(checkpoint='work_dirs/mae_nepa-vit-base-p14_8xb512-amp-coslr-1600e_in1k/epoch_1600.pth')))
