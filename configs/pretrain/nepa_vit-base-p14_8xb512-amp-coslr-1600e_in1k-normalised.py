# NEPA pretraining of ViT-B/14 on ImageNet-1k, whose targets are patches without their mean and contrast: docs/beyond.md.
#
#   bash tools/dist_train.sh configs/pretrain/nepa_vit-base-p14_8xb512-amp-coslr-1600e_in1k-normalised.py 8
#
# Hardware: 8 GPUs of 80 GB.
# Top-1 after fine-tuning: paper none, ours not run.
_base_ = './nepa_vit-base-p14_8xb512-amp-coslr-1600e_in1k.py'

model = dict(target='normalised')
