# UPerNet on ADE20K with MAE's ViT-B/16, under the recipe of nepa_vit-base-p14_upernet_8xb2-amp-160k_ade20k-512x512.py.
#
#   bash tools/dist_train.sh configs/segmentation/mae_vit-base-p16_upernet_8xb2-amp-160k_ade20k-512x512.py 8
#
# Hardware: 8 GPUs. mIoU, single scale: paper 48.1, ours not run.
# Weights: mae_pretrain_vit_base.pth of https://github.com/facebookresearch/mae; convert them first:
#
#   python tools/model_converters/vit_timm_to_mm.py mae_pretrain_vit_base.pth work_dirs/mae_vit-base-p16.pth
_base_ = '../_base_/recipes/vit-base_upernet_160k_ade20k.py'

model = dict(backbone=dict(init_cfg=dict(checkpoint='work_dirs/mae_vit-base-p16.pth')))
