# UPerNet on ADE20K with MoCo v3's ViT-L/16, under the recipe of
# nepa_vit-large-p14_upernet_8xb2-amp-160k_ade20k-512x512.py.
#
#   bash tools/dist_train.sh configs/segmentation/mocov3_vit-large-p16_upernet_8xb2-amp-160k_ade20k-512x512.py 8
#
# Hardware: 8 GPUs. mIoU, single scale: paper 49.1, ours not run.
# Weights: its authors published none of this size. mmpretrain has some, mocov3_vit-large-p16_64xb64-amp-coslr-300e_in1k: put them
# there as they are. Those of the authors' code, convert:
#
#   python tools/model_converters/vit_timm_to_mm.py vit-l.pth.tar work_dirs/mocov3_vit-large-p16.pth
_base_ = '../_base_/recipes/vit-large_upernet_160k_ade20k.py'

model = dict(backbone=dict(init_cfg=dict(checkpoint='work_dirs/mocov3_vit-large-p16.pth')))
