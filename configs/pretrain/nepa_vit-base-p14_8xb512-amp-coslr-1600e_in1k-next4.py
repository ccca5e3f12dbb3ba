# NEPA pretraining of ViT-B/14 on ImageNet-1k, which predicts the next four embeddings (arXiv 2610.02203): docs/beyond.md.
#
#   bash tools/dist_train.sh configs/pretrain/nepa_vit-base-p14_8xb512-amp-coslr-1600e_in1k-next4.py 8
#
# Hardware: 8 GPUs of 80 GB.
# Top-1 after fine-tuning: paper none, ours not run.
_base_ = './nepa_vit-base-p14_8xb512-amp-coslr-1600e_in1k.py'

model = dict(head=dict(type='nepa_mm.MultiEmbeddingLoss', embed_dims=768, num_predictions=4))
