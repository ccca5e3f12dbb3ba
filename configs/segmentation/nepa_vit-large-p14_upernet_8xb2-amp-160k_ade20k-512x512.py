# UPerNet on ADE20K with a NEPA ViT-L/14 backbone.
#
#   bash tools/dist_train.sh configs/segmentation/nepa_vit-large-p14_upernet_8xb2-amp-160k_ade20k-512x512.py 8
#
# Hardware: 8 GPUs. mIoU, single scale: paper 54.0 with its own variant (-paper), ours not run.
# The paper gives crop, batch, iterations and attention; the rest is mmseg's MAE recipe. Two images take 9.7 GiB, counted
# (docs/dense_prediction.md): GPUs of 24 GB do. Larger ones save a tenth of the work by model.backbone.with_cp=False, 11.2 GiB.
_base_ = [
    '../_base_/models/nepa_upernet.py',
    '../_base_/datasets/ade20k_512.py',
    '../_base_/schedules/160k_adamw.py',
    '../_base_/segmentation_runtime.py',
]

model = dict(
    backbone=dict(
        arch='large',
        out_indices=[7, 11, 15, 23],
        drop_path_rate=0.2,
        with_cp=True,
        init_cfg=dict(checkpoint='work_dirs/nepa_vit-large-p14_8xb256-amp-coslr-800e_in1k/epoch_800.pth')),
    neck=dict(embed_dim=1024),
    decode_head=dict(in_channels=[1024, 1024, 1024, 1024], channels=1024),
    auxiliary_head=dict(in_channels=1024))
