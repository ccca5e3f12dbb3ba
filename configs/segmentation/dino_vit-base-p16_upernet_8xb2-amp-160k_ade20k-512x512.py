# UPerNet on ADE20K with DINO's ViT-B/16, under the recipe of nepa_vit-base-p14_upernet_8xb2-amp-160k_ade20k-512x512.py.
#
#   bash tools/dist_train.sh configs/segmentation/dino_vit-base-p16_upernet_8xb2-amp-160k_ade20k-512x512.py 8
#
# Hardware: 8 GPUs. mIoU, single scale: paper none, ours not run.
# Weights: dino_vitbase16_pretrain.pth of https://github.com/facebookresearch/dino ("backbone only"); convert them first:
#
#   python tools/model_converters/vit_timm_to_mm.py dino_vitbase16_pretrain.pth work_dirs/dino_vit-base-p16.pth
_base_ = '../_base_/recipes/vit-base_upernet_160k_ade20k.py'

model = dict(backbone=dict(init_cfg=dict(checkpoint='work_dirs/dino_vit-base-p16.pth')))
