# NEPA pretraining of timm's EVA-02 B/14 on ImageNet-1k: RoPE and learned positions, SwiGLU with a norm inside.
#
#   bash tools/dist_train.sh configs/pretrain/nepa_eva02-vit-base-p14_8xb512-amp-coslr-1600e_in1k.py 8
#
# Hardware: 8 GPUs of 80 GB.
# Top-1 after fine-tuning: paper none, ours not run. Everything but the backbone is NEPA's.
# mmpretrain.TIMMBackbone takes the weights, and timm itself those whose names begin with backbone.timm_model.
_base_ = '../_base_/recipes/nepa_1600e_in1k.py'

model = dict(backbone=dict(type='nepa_mm.CausalTIMMBackbone', model_name='eva02_base_patch14_224'))
