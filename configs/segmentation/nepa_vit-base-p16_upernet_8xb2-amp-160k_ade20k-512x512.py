# UPerNet on ADE20K with a NEPA ViT-B backbone whose patch embedding is resampled from 14 to 16 pixels as it loads: 512 is 32 patches.
#
#   bash tools/dist_train.sh configs/segmentation/nepa_vit-base-p16_upernet_8xb2-amp-160k_ade20k-512x512.py 8
#
# Hardware: 8 GPUs. mIoU, single scale: paper none (48.3 with patches of 14 and its own variant), ours not run.
_base_ = './nepa_vit-base-p14_upernet_8xb2-amp-160k_ade20k-512x512.py'

model = dict(backbone=dict(patch_size=16))
