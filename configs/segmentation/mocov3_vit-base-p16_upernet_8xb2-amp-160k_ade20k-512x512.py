# UPerNet on ADE20K with MoCo v3's ViT-B/16, under the recipe of nepa_vit-base-p14_upernet_8xb2-amp-160k_ade20k-512x512.py.
#
#   bash tools/dist_train.sh configs/segmentation/mocov3_vit-base-p16_upernet_8xb2-amp-160k_ade20k-512x512.py 8
#
# Hardware: 8 GPUs. mIoU, single scale: paper 47.3, ours not run.
# Weights: vit-b-300ep.pth.tar of https://github.com/facebookresearch/moco-v3 (CONFIG.md); convert them first:
#
#   python tools/model_converters/vit_timm_to_mm.py vit-b-300ep.pth.tar work_dirs/mocov3_vit-base-p16.pth
_base_ = '../_base_/recipes/vit-base_upernet_160k_ade20k.py'

model = dict(backbone=dict(init_cfg=dict(checkpoint='work_dirs/mocov3_vit-base-p16.pth')))
