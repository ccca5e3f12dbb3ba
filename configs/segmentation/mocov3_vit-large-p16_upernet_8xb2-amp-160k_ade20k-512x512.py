# UPerNet on ADE20K with MoCo v3's ViT-L/16, under the recipe of
# nepa_vit-large-p14_upernet_8xb2-amp-160k_ade20k-512x512.py.
#
#   bash tools/dist_train.sh configs/segmentation/mocov3_vit-large-p16_upernet_8xb2-amp-160k_ade20k-512x512.py 8
#
# Hardware: 8 GPUs. mIoU, single scale: paper 49.1, ours not run.
# Weights: its authors published none of this size. mmpretrain has some, mocov3_vit-large-p16_64xb64-amp-coslr-300e_in1k: put them
# there as they are. Those of the authors' code, convert:
#
#   python tools/model_converters/vit_timm_to_mm.py vit-l.pth.tar work_dirs/mocov3_vit-large-p16.pth
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
        init_cfg=dict(checkpoint='work_dirs/mocov3_vit-large-p16.pth')),
    neck=dict(embed_dim=1024),
    decode_head=dict(in_channels=[1024, 1024, 1024, 1024], channels=1024),
    auxiliary_head=dict(in_channels=1024))
