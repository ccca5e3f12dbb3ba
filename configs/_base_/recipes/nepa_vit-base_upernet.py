# UPerNet on a NEPA ViT-B/14 by ADE20K's recipe, on other data: data set, classes and length are the leaf's
_base_ = [
    '../models/nepa_upernet.py',
    '../schedules/160k_adamw.py',
    '../segmentation_runtime.py',
]

model = dict(
    backbone=dict(
        arch='base',
        drop_path_rate=0.1,
        init_cfg=dict(checkpoint='work_dirs/nepa_vit-base-p14_8xb512-amp-coslr-1600e_in1k/epoch_1600.pth')))
