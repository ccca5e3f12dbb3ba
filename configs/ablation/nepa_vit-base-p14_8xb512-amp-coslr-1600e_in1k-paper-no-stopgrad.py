# Table 1a: gradients reach the target, and all embeddings become one.
#
#   bash tools/dist_train.sh configs/ablation/nepa_vit-base-p14_8xb512-amp-coslr-1600e_in1k-paper-no-stopgrad.py 8
#
# Hardware: 8 GPUs of 80 GB. Top-1 after fine-tuning: paper fails (76.8 with both, after 50k steps of 2048 images), ours not run.
# Fine-tune with classification/nepa_vit-base-p14_8xb128-coslr-100e_in1k-paper.py, model.backbone.init_cfg.checkpoint set to this
# run's epoch_1600.pth.
_base_ = '../pretrain/nepa_vit-base-p14_8xb512-amp-coslr-1600e_in1k-paper.py'

model = dict(head=dict(stop_grad=False))
