# UPerNet on ADE20K with a ViT-L/16 trained on ImageNet-1k's labels, under the recipe of
# nepa_vit-large-p14_upernet_8xb2-amp-160k_ade20k-512x512.py.
#
#   bash tools/dist_train.sh configs/segmentation/supervised_vit-large-p16_upernet_8xb2-amp-160k_ade20k-512x512.py 8
#
# Hardware: 8 GPUs. mIoU, single scale: paper 49.9, ours not run.
# Weights: none of ImageNet-1k alone are published. mmpretrain's vit-large-p16_64xb64_in1k trains some: put them there as they
# are. Those with timm's names, convert:
#
#   python tools/model_converters/vit_timm_to_mm.py vit_large_patch16_224.pth work_dirs/supervised_vit-large-p16.pth
_base_ = '../_base_/recipes/vit-large_upernet_160k_ade20k.py'

model = dict(backbone=dict(init_cfg=dict(checkpoint='work_dirs/supervised_vit-large-p16.pth')))
