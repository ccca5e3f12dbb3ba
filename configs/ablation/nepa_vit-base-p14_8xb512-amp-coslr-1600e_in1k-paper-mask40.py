# 40 % of the input patches replaced by a learned token, as in Table 1c, but of the whole model.
#
#   bash tools/dist_train.sh configs/ablation/nepa_vit-base-p14_8xb512-amp-coslr-1600e_in1k-paper-mask40.py 8
#
# Hardware: 8 GPUs of 80 GB. Top-1 after fine-tuning: paper none; of a plain ViT it is -plain-mask40; ours not run.
# Fine-tune with classification/nepa_vit-base-p14_8xb128-coslr-100e_in1k-paper.py, model.backbone.init_cfg.checkpoint set to this
# run's epoch_1600.pth.
_base_ = '../pretrain/nepa_vit-base-p14_8xb512-amp-coslr-1600e_in1k-paper.py'

model = dict(mask_ratio=0.4)
