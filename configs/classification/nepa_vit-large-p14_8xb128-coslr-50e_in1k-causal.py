# Fine-tuning of a NEPA ViT-L/14 on ImageNet-1k, the release's variant and recipe with attention left causal: the last token,
# which alone has seen every patch, is classified, as the release's classifier does without pooling.
#
#   bash tools/dist_train.sh configs/classification/nepa_vit-large-p14_8xb128-coslr-50e_in1k-causal.py 8
#
# Hardware: 8 GPUs. Top-1: paper 84.1 with its own variant and recipe (-paper-causal), ours not run.
_base_ = './nepa_vit-large-p14_8xb128-coslr-50e_in1k.py'

model = dict(backbone=dict(causal=True, out_type='last_token'))
