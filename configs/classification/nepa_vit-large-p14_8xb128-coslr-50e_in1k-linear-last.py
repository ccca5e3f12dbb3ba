# Linear probing of a NEPA ViT-L/14 on ImageNet-1k, last embedding (Table 6): as -linear, but the last token, which has seen every
# patch.
#
#   bash tools/dist_train.sh configs/classification/nepa_vit-large-p14_8xb128-coslr-50e_in1k-linear-last.py 8
#
# Hardware: 8 GPUs. Top-1: paper none (base 11.3), ours not run.
_base_ = './nepa_vit-large-p14_8xb128-coslr-50e_in1k-linear.py'

model = dict(backbone=dict(out_type='last_token'))
