# Fine-tuning of DINO's ViT-B/16 on ImageNet-1k under the recipe of nepa_vit-base-p14_8xb128-coslr-100e_in1k.py: only the backbone
# changes, with the mean and std of its pixels. Features are [CLS] after the final norm, as in the method's fine-tuning.
#
#   bash tools/dist_train.sh configs/classification/dino_vit-base-p16_8xb128-coslr-100e_in1k.py 8
#
# Hardware: 8 GPUs. Top-1: paper 83.6, ours not run.
# Weights: dino_vitbase16_pretrain.pth of https://github.com/facebookresearch/dino ("backbone only"); convert them first:
#
#   python tools/model_converters/vit_timm_to_mm.py dino_vitbase16_pretrain.pth work_dirs/dino_vit-base-p16.pth
_base_ = ['../_base_/recipes/vit-base_finetune_100e_in1k.py', '../_base_/datasets/imagenet_224_meanstd.py']

model = dict(
    backbone=dict(out_type='cls_token', final_norm=True, init_cfg=dict(checkpoint='work_dirs/dino_vit-base-p16.pth')))
