# Fine-tuning of a NEPA ViT-B/14 on ImageNet-1k, the paper's recipe with attention left causal, as in pretraining
# (Tables 1, 2 and 5).
#
#   bash tools/dist_train.sh configs/classification/nepa_vit-base-p14_8xb128-coslr-100e_in1k-paper-causal.py 8
#
# Hardware: 8 GPUs. Top-1: paper 82.5 (81.3 and 76.8 after 100k and 50k steps of 2048 images), ours not run.
_base_ = './nepa_vit-base-p14_8xb128-coslr-100e_in1k-paper.py'

model = dict(backbone=dict(causal=True))
