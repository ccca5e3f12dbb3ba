# NEPA pretraining of ViT-B/14 on ImageNet-1k, by the mean squared error of raw embeddings (arXiv 2610.02203): docs/beyond.md.
#
#   bash tools/dist_train.sh configs/pretrain/nepa_vit-base-p14_8xb512-amp-coslr-1600e_in1k-mse.py 8
#
# Hardware: 8 GPUs of 80 GB.
# Top-1 after fine-tuning: paper none, ours not run. The source, another model: 82.6, 83.1 by the cosine.
_base_ = './nepa_vit-base-p14_8xb512-amp-coslr-1600e_in1k.py'

model = dict(head=dict(type='nepa_mm.MultiEmbeddingLoss', embed_dims=768, distance='mse'))
