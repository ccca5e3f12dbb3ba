# UPerNet on ADE20K with a NEPA ViT-B/14 backbone.
#
#   bash tools/dist_train.sh configs/segmentation/nepa_vit-base-p14_upernet_8xb2-amp-160k_ade20k-512x512.py 8
#
# Hardware: 8 GPUs. mIoU, single scale: paper 48.3 with its own variant (-paper), ours not run.
# The paper gives crop, batch, iterations and attention; the rest is mmseg's MAE recipe.
_base_ = [
    '../_base_/models/nepa_upernet.py',
    '../_base_/datasets/ade20k_512.py',
    '../_base_/schedules/160k_adamw.py',
    '../_base_/segmentation_runtime.py',
]

model = dict(
    backbone=dict(
        arch='base',
        drop_path_rate=0.1,
        init_cfg=dict(checkpoint='work_dirs/nepa_vit-base-p14_8xb512-amp-coslr-1600e_in1k/epoch_1600.pth')))
