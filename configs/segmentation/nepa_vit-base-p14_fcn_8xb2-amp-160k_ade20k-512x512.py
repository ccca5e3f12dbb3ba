# Two convolutions on the last feature map of a NEPA ViT-B/14, ADE20K: mmseg's FCN head.
#
#   bash tools/dist_train.sh configs/segmentation/nepa_vit-base-p14_fcn_8xb2-amp-160k_ade20k-512x512.py 8
#
# Hardware: 8 GPUs. mIoU, single scale: paper none, ours not run.
# The recipe is UPerNet's.
_base_ = '../_base_/recipes/nepa_vit-base_head_160k_ade20k.py'

model = dict(
    backbone=dict(drop_path_rate=0.1),
    decode_head=dict(type='FCNHead', in_channels=768, in_index=0, channels=256, num_convs=2, concat_input=False))
