# Table 1b, first row: a plain ViT: no LayerScale, RoPE, QK-norm or gated MLP.
#
#   bash tools/dist_train.sh configs/ablation/nepa_vit-base-p14_8xb512-amp-coslr-1600e_in1k-paper-plain.py 8
#
# Hardware: 8 GPUs of 80 GB. Top-1 after fine-tuning: paper 78.2 after 100k steps of 2048 images, ours not run.
# Fine-tune with ablation/nepa_vit-base-p14_8xb128-coslr-100e_in1k-paper-plain.py.
_base_ = '../pretrain/nepa_vit-base-p14_8xb512-amp-coslr-1600e_in1k-paper.py'

model = dict(backbone=dict(layer_scale_init_value=None, rope=None, qk_norm=None, act='gelu', gated_mlp=False))
