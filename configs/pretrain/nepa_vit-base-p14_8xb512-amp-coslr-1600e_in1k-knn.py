# NEPA pretraining of ViT-B/14 on ImageNet-1k, the released variant, with kNN accuracy of its features every 100 epochs.
#
#   bash tools/dist_train.sh configs/pretrain/nepa_vit-base-p14_8xb512-amp-coslr-1600e_in1k-knn.py 8
#
# Hardware: 8 GPUs of 80 GB, as without kNN; each validation passes 1.33 M images forward, twice for both sets of weights.
# No kNN accuracy of NEPA is published, ours not run. Top-1 after fine-tuning: release 83.75, ours not run.
_base_ = ['./nepa_vit-base-p14_8xb512-amp-coslr-1600e_in1k.py', '../_base_/datasets/imagenet_knn.py']

train_cfg = dict(val_interval=100)

# Validation reports both: knn/* of the EMA, knn/*_origin of the raw weights.
custom_hooks = [dict(_base_.custom_hooks[0], evaluate_on_origin=True)]
