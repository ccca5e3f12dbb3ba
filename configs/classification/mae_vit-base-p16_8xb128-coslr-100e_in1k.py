# Fine-tuning of MAE's ViT-B/16 on ImageNet-1k under the recipe of nepa_vit-base-p14_8xb128-coslr-100e_in1k.py: only the backbone
# changes, with the mean and std of its pixels. Mean of the patch tokens and a norm of its own, as in the method's fine-tuning.
#
#   bash tools/dist_train.sh configs/classification/mae_vit-base-p16_8xb128-coslr-100e_in1k.py 8
#
# Hardware: 8 GPUs. Top-1: paper 83.6, ours not run.
# Weights: mae_pretrain_vit_base.pth of https://github.com/facebookresearch/mae; convert them first:
#
#   python tools/model_converters/vit_timm_to_mm.py mae_pretrain_vit_base.pth work_dirs/mae_vit-base-p16.pth
_base_ = ['../_base_/recipes/vit-base_finetune_100e_in1k.py', '../_base_/datasets/imagenet_224_meanstd.py']

model = dict(
    backbone=dict(out_type='avg_featmap', final_norm=False, init_cfg=dict(checkpoint='work_dirs/mae_vit-base-p16.pth')))
