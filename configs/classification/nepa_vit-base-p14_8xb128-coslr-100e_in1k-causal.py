# Fine-tuning of a NEPA ViT-B/14 on ImageNet-1k, the release's variant and recipe with attention left causal: the last token,
# which alone has seen every patch, is classified, as the release's classifier does without pooling.
#
#   bash tools/dist_train.sh configs/classification/nepa_vit-base-p14_8xb128-coslr-100e_in1k-causal.py 8
#
# Hardware: 8 GPUs. Top-1: paper 82.5 with its own variant and recipe (-paper-causal), ours not run.
_base_ = './nepa_vit-base-p14_8xb128-coslr-100e_in1k.py'

model = dict(backbone=dict(causal=True, out_type='last_token'))
