# UPerNet on ADE20K with a ViT-B/16 trained on ImageNet-1k's labels, under the recipe of
# nepa_vit-base-p14_upernet_8xb2-amp-160k_ade20k-512x512.py.
#
#   bash tools/dist_train.sh configs/segmentation/supervised_vit-base-p16_upernet_8xb2-amp-160k_ade20k-512x512.py 8
#
# Hardware: 8 GPUs. mIoU, single scale: paper 47.4, ours not run.
# Weights: vit-base-p16_32xb128-mae_in1k of mmpretrain's list of models, trained from scratch by the recipe that MAE's authors
# give for it: put them there as they are. DeiT's, deit_base_patch16_224-b5f2ef4d.pth, convert:
#
#   python tools/model_converters/vit_timm_to_mm.py deit_base_patch16_224-b5f2ef4d.pth work_dirs/supervised_vit-base-p16.pth
_base_ = '../_base_/recipes/vit-base_upernet_160k_ade20k.py'

model = dict(backbone=dict(init_cfg=dict(checkpoint='work_dirs/supervised_vit-base-p16.pth')))
