# Fine-tuning of MoCo v3's ViT-L/16 on ImageNet-1k under the recipe of nepa_vit-large-p14_8xb128-coslr-50e_in1k.py: only the
# backbone changes, with the mean and std of its pixels; it is tested on the centre of 256 pixels, as is common. Features are
# [CLS] after the final norm, as in the method's fine-tuning.
#
#   bash tools/dist_train.sh configs/classification/mocov3_vit-large-p16_8xb128-coslr-50e_in1k.py 8
#
# Hardware: 8 GPUs. Top-1: paper 84.1, ours not run.
# Weights: its authors published none of this size. mmpretrain has some, mocov3_vit-large-p16_64xb64-amp-coslr-300e_in1k, of half
# the paper's 600 epochs: put them there as they are. Those of the authors' code, convert:
#
#   python tools/model_converters/vit_timm_to_mm.py vit-l.pth.tar work_dirs/mocov3_vit-large-p16.pth
_base_ = ['../_base_/recipes/vit-large_finetune_50e_in1k.py', '../_base_/datasets/imagenet_224_meanstd.py']

model = dict(backbone=dict(out_type='cls_token', final_norm=True, init_cfg=dict(checkpoint='work_dirs/mocov3_vit-large-p16.pth')))
