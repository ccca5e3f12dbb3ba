# Table 1b, fourth row: with LayerScale, RoPE and gated MLP; no QK-norm.
#
#   bash tools/dist_train.sh configs/ablation/nepa_vit-base-p14_8xb512-amp-coslr-1600e_in1k-paper-ls-rope-gated.py 8
#
# Hardware: 8 GPUs of 80 GB. Top-1 after fine-tuning: paper fails, ours not run.
# Fine-tune with ablation/nepa_vit-base-p14_8xb128-coslr-100e_in1k-paper-ls-rope-gated.py.
_base_ = '../pretrain/nepa_vit-base-p14_8xb512-amp-coslr-1600e_in1k-paper.py'

model = dict(backbone=dict(qk_norm=None))
