# Fine-tuning of iBOT's ViT-L/16 on ImageNet-1k under the recipe of nepa_vit-large-p14_8xb128-coslr-50e_in1k.py: only the
# backbone changes, with the mean and std of its pixels; it is tested on the centre of 256 pixels, as is common. Features are
# [CLS] after the final norm, as in the method's fine-tuning.
#
#   bash tools/dist_train.sh configs/classification/ibot_vit-large-p16_8xb128-coslr-50e_in1k.py 8
#
# Hardware: 8 GPUs. Top-1: paper 84.8, ours not run.
# Weights: checkpoint_teacher.pth of ViT-L/16, ImageNet-1k, of https://github.com/bytedance/ibot; convert them first:
#
#   python tools/model_converters/vit_timm_to_mm.py checkpoint_teacher.pth work_dirs/ibot_vit-large-p16.pth
_base_ = ['../_base_/recipes/vit-large_finetune_50e_in1k.py', '../_base_/datasets/imagenet_224_meanstd.py']

model = dict(backbone=dict(out_type='cls_token', final_norm=True, init_cfg=dict(checkpoint='work_dirs/ibot_vit-large-p16.pth')))
