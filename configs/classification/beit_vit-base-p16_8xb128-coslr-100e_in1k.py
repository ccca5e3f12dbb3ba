# Fine-tuning of BEiT's ViT-B/16 on ImageNet-1k under the recipe of nepa_vit-base-p14_8xb128-coslr-100e_in1k.py: only the backbone
# changes. Mean of the patch tokens and a norm of its own, as in the method's fine-tuning.
#
#   bash tools/dist_train.sh configs/classification/beit_vit-base-p16_8xb128-coslr-100e_in1k.py 8
#
# Hardware: 8 GPUs. Top-1: paper 83.4, ours not run.
# Weights: beit_base_patch16_224_pt22k.pth of https://github.com/microsoft/unilm/tree/master/beit; convert them first:
#
#   python tools/model_converters/vit_timm_to_mm.py beit_base_patch16_224_pt22k.pth work_dirs/beit_vit-base-p16.pth
#
# They are from ImageNet-22k without its labels, not from ImageNet-1k, and from pixels in [-1, 1].
_base_ = ['../_base_/recipes/vit-base_finetune_100e_in1k.py', '../_base_/datasets/imagenet_224.py']

model = dict(
    data_preprocessor=dict(timm_mean=[0.5] * 3, timm_std=[0.5] * 3),
    backbone=dict(
        type='mmpretrain.BEiTViT',
        out_type='avg_featmap',
        final_norm=False,
        use_rel_pos_bias=True,  # one table for each block; all start as the one that pretraining shares
        layer_scale_init_value=0.1,
        init_cfg=dict(checkpoint='work_dirs/beit_vit-base-p16.pth')))
