# NEPA of any backbone on ImageNet-1k as pretrain/nepa_vit-base-p14_8xb512-amp-coslr-1600e_in1k.py does it. Backbone is the leaf's.
_base_ = [
    '../models/nepa.py',
    '../datasets/images_224.py',
    '../schedules/pretrain_bs4096_adamw.py',
    '../default_runtime.py',
]

# 8 GPUs x 512 images = 4096
train_dataloader = dict(batch_size=512)

param_scheduler = dict(warmup=40, end=1600)
train_cfg = dict(max_epochs=1600)
