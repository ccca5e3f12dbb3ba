# MAE pretraining of a ViT-L/16 with QK-norm on ImageNet-1k (Table 7), with a learned position embedding.
#
#   bash tools/dist_train.sh configs/pretrain/mae_nepa-vit-large-p16_8xb256-amp-coslr-1600e_in1k-qk-norm.py 8
#
# Hardware: 8 GPUs of 80 GB.
# Top-1 after fine-tuning (classification/mae_nepa-vit-large-p16_8xb128-coslr-50e_in1k-qk-norm.py): paper 85.6, ours not run.
_base_ = './mae_nepa-vit-large-p16_8xb256-amp-coslr-1600e_in1k-rope.py'

model = dict(backbone=dict(rope=None, qk_norm='affine'))
