# Linear probing of a NEPA ViT-B/14 on ImageNet-1k, last embedding (Table 6): as -linear, but the last token, which has seen every
# patch.
#
#   bash tools/dist_train.sh configs/classification/nepa_vit-base-p14_8xb128-coslr-100e_in1k-linear-last.py 8
#
# Hardware: 8 GPUs. Top-1: paper 11.3, ours not run.
_base_ = './nepa_vit-base-p14_8xb128-coslr-100e_in1k-linear.py'

model = dict(backbone=dict(out_type='last_token'))
