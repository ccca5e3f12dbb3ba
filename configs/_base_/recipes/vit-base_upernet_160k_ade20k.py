# UPerNet on another method's ViT-B/16, ADE20K, as segmentation/nepa_vit-base-p14_upernet_8xb2-amp-160k_ade20k-512x512.py does it.
# Backbone and weights are the leaf's.
_base_ = [
    '../models/vit_upernet.py',
    '../datasets/ade20k_512.py',
    '../schedules/160k_adamw.py',
    '../segmentation_runtime.py',
]
