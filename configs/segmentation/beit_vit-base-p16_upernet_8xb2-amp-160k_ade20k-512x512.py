# UPerNet on ADE20K with BEiT's ViT-B/16, under the recipe of nepa_vit-base-p14_upernet_8xb2-amp-160k_ade20k-512x512.py.
#
#   bash tools/dist_train.sh configs/segmentation/beit_vit-base-p16_upernet_8xb2-amp-160k_ade20k-512x512.py 8
#
# Hardware: 8 GPUs. mIoU, single scale: paper 47.1, ours not run.
# Weights: beit_base_patch16_224_pt22k.pth of https://github.com/microsoft/unilm/tree/master/beit; convert them first:
#
#   python tools/model_converters/vit_timm_to_mm.py --grid 32 \
#       beit_base_patch16_224_pt22k.pth work_dirs/beit_vit-base-p16-512px.pth
#
# They are from ImageNet-22k without its labels, not from ImageNet-1k, and from pixels in [-1, 1].
# --grid resizes its relative positions to 32 x 32 patches. They fit no other input: sliding windows work, --tta does not.
_base_ = '../_base_/recipes/vit-base_upernet_160k_ade20k.py'

model = dict(
    data_preprocessor=dict(mean=[127.5] * 3, std=[127.5] * 3),
    backbone=dict(
        type='mmpretrain.BEiTViT',
        use_rel_pos_bias=True,
        layer_scale_init_value=0.1,
        init_cfg=dict(checkpoint='work_dirs/beit_vit-base-p16-512px.pth')))
