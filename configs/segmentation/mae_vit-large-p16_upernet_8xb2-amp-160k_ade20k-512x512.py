# UPerNet on ADE20K with MAE's ViT-L/16, under the recipe of
# nepa_vit-large-p14_upernet_8xb2-amp-160k_ade20k-512x512.py.
#
#   bash tools/dist_train.sh configs/segmentation/mae_vit-large-p16_upernet_8xb2-amp-160k_ade20k-512x512.py 8
#
# Hardware: 8 GPUs. mIoU, single scale: paper 53.6, ours not run.
# Weights: mae_pretrain_vit_large.pth of https://github.com/facebookresearch/mae; convert them first:
#
#   python tools/model_converters/vit_timm_to_mm.py mae_pretrain_vit_large.pth work_dirs/mae_vit-large-p16.pth
_base_ = [
    '../_base_/models/vit_upernet.py',
    '../_base_/datasets/ade20k_512.py',
    '../_base_/schedules/160k_adamw.py',
    '../_base_/segmentation_runtime.py',
]

model = dict(
    backbone=dict(
        arch='large',
        out_indices=[7, 11, 15, 23],
        drop_path_rate=0.2,
        init_cfg=dict(checkpoint='work_dirs/mae_vit-large-p16.pth')),
    neck=dict(embed_dim=1024),
    decode_head=dict(in_channels=[1024, 1024, 1024, 1024], channels=1024),
    auxiliary_head=dict(in_channels=1024))
