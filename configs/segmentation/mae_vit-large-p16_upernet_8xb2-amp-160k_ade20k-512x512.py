# UPerNet on ADE20K with MAE's ViT-L/16, under the recipe of
# nepa_vit-large-p14_upernet_8xb2-amp-160k_ade20k-512x512.py.
#
#   bash tools/dist_train.sh configs/segmentation/mae_vit-large-p16_upernet_8xb2-amp-160k_ade20k-512x512.py 8
#
# Hardware: 8 GPUs. mIoU, single scale: paper 53.6, ours not run.
# Weights: mae_pretrain_vit_large.pth of https://github.com/facebookresearch/mae; convert them first:
#
#   python tools/model_converters/vit_timm_to_mm.py mae_pretrain_vit_large.pth work_dirs/mae_vit-large-p16.pth
_base_ = '../_base_/recipes/vit-large_upernet_160k_ade20k.py'

model = dict(backbone=dict(init_cfg=dict(checkpoint='work_dirs/mae_vit-large-p16.pth')))
