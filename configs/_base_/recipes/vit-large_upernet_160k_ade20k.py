# UPerNet on another method's ViT-L/16, ADE20K, as segmentation/nepa_vit-large-p14_upernet_8xb2-amp-160k_ade20k-512x512.py does it.
# Backbone and weights are the leaf's.
_base_ = [
    '../models/vit_upernet.py',
    '../datasets/ade20k_512.py',
    '../schedules/160k_adamw.py',
    '../segmentation_runtime.py',
]

model = dict(
    backbone=dict(arch='large', out_indices=[7, 11, 15, 23], drop_path_rate=0.2),
    neck=dict(embed_dim=1024),
    decode_head=dict(in_channels=[1024, 1024, 1024, 1024], channels=1024),
    auxiliary_head=dict(in_channels=1024))
