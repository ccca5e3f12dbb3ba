# NEPA pretraining of mmpretrain's BEiT-B/16 on ImageNet-1k: relative position biases, LayerScale 0.1.
#
#   bash tools/dist_train.sh configs/pretrain/nepa_beit-vit-base-p16_8xb512-amp-coslr-1600e_in1k.py 8
#
# Hardware: 8 GPUs of 80 GB.
# Top-1 after fine-tuning: paper none, ours not run. Everything but the backbone is NEPA's.
# mmpretrain.BEiTViT, with final_norm=True, takes the weights by init_cfg=dict(type='Pretrained', prefix='backbone.', ...).
_base_ = '../_base_/recipes/nepa_1600e_in1k.py'

model = dict(backbone=dict(type='nepa_mm.CausalBEiTViT', arch='base', patch_size=16))
