# Table 1c: 40 % of the input patches of a plain ViT (-plain) replaced by a learned token.
#
#   bash tools/dist_train.sh configs/ablation/nepa_vit-base-p14_8xb512-amp-coslr-1600e_in1k-paper-plain-mask40.py 8
#
# Hardware: 8 GPUs of 80 GB. Top-1 after fine-tuning: paper 76.4 after 100k steps of 2048 images, ours not run.
# Fine-tune with ablation/nepa_vit-base-p14_8xb128-coslr-100e_in1k-paper-plain.py, model.backbone.init_cfg.checkpoint set to this
# run's epoch_1600.pth.
_base_ = '../pretrain/nepa_vit-base-p14_8xb512-amp-coslr-1600e_in1k-paper.py'

model = dict(
    mask_ratio=0.4,
    backbone=dict(layer_scale_init_value=None, rope=None, qk_norm=None, act='gelu', gated_mlp=False))
