# Linear probing on ADE20K: one linear layer on the last feature map of a frozen NEPA ViT-B/14.
#
#   bash tools/dist_train.sh configs/segmentation/nepa_vit-base-p14_linear_8xb2-amp-160k_ade20k-512x512.py 8
#
# Hardware: 8 GPUs. mIoU, single scale: paper none, ours not run.
# Schedule of the UPerNet recipe; the head alone is trained, so its lr is ten times higher.
_base_ = '../_base_/recipes/nepa_vit-base_head_160k_ade20k.py'

model = dict(
    backbone=dict(frozen_stages=12),  # all of it, the final norm too
    decode_head=dict(
        type='FCNHead',
        in_channels=768,
        in_index=0,
        channels=768,
        num_convs=0,  # only the classifier of each patch is left
        concat_input=False))

optim_wrapper = dict(optimizer=dict(lr=1e-3))
