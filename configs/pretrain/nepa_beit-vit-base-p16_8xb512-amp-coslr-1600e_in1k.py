# NEPA pretraining of mmpretrain's BEiT-B/16 on ImageNet-1k: relative position biases, LayerScale 0.1.
#
#   bash tools/dist_train.sh configs/pretrain/nepa_beit-vit-base-p16_8xb512-amp-coslr-1600e_in1k.py 8
#
# Hardware: 8 GPUs of 80 GB.
# Top-1 after fine-tuning: paper none, ours not run. Everything but the backbone is NEPA's.
# mmpretrain.BEiTViT, with final_norm=True, takes the weights by init_cfg=dict(type='Pretrained', prefix='backbone.', ...).
_base_ = [
    '../_base_/models/nepa.py',
    '../_base_/datasets/images_224.py',
    '../_base_/schedules/pretrain_bs4096_adamw.py',
    '../_base_/default_runtime.py',
]

model = dict(backbone=dict(type='nepa_mm.CausalBEiTViT', arch='base', patch_size=16))

# 8 GPUs x 512 images = 4096
train_dataloader = dict(batch_size=512)

param_scheduler = dict(warmup=40, end=1600)
train_cfg = dict(max_epochs=1600)
