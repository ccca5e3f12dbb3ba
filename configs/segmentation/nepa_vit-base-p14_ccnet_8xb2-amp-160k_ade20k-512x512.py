# CCNet's head on the last feature map of a NEPA ViT-B/14, ADE20K.
#
#   bash tools/dist_train.sh configs/segmentation/nepa_vit-base-p14_ccnet_8xb2-amp-160k_ade20k-512x512.py 8
#
# Hardware: 8 GPUs. mIoU, single scale: paper none, ours not run.
# The recipe is UPerNet's.
_base_ = '../_base_/recipes/nepa_vit-base_head_160k_ade20k.py'

custom_imports = dict(imports=['nepa_mm.ops'], allow_failed_imports=False)
model = dict(
    backbone=dict(drop_path_rate=0.1),
    decode_head=dict(type='CCHead', in_channels=768, in_index=0, channels=512))
