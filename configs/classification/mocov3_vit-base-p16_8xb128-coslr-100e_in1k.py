# Fine-tuning of MoCo v3's ViT-B/16 on ImageNet-1k under the recipe of nepa_vit-base-p14_8xb128-coslr-100e_in1k.py: only the
# backbone changes, with the mean and std of its pixels. Features are [CLS] after the final norm, as in the method's fine-tuning.
#
#   bash tools/dist_train.sh configs/classification/mocov3_vit-base-p16_8xb128-coslr-100e_in1k.py 8
#
# Hardware: 8 GPUs. Top-1: paper 83.2, ours not run.
# Weights: vit-b-300ep.pth.tar of https://github.com/facebookresearch/moco-v3 (CONFIG.md); convert them first:
#
#   python tools/model_converters/vit_timm_to_mm.py vit-b-300ep.pth.tar work_dirs/mocov3_vit-base-p16.pth
_base_ = ['../_base_/recipes/vit-base_finetune_100e_in1k.py', '../_base_/datasets/imagenet_224_meanstd.py']

model = dict(
    backbone=dict(out_type='cls_token', final_norm=True, init_cfg=dict(checkpoint='work_dirs/mocov3_vit-base-p16.pth')))
