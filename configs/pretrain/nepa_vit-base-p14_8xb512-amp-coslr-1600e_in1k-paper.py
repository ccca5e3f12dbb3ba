# NEPA pretraining of ViT-B/14, the paper's variant: SwiGLU, learned position embedding, no [CLS].
#
#   bash tools/dist_train.sh configs/pretrain/nepa_vit-base-p14_8xb512-amp-coslr-1600e_in1k-paper.py 8
#
# Hardware: 8 GPUs of 80 GB; the paper took about 3 days on 8 H100. No weights of this variant were released.
# Top-1 after fine-tuning (classification/nepa_vit-base-p14_8xb128-coslr-100e_in1k-paper.py): paper 83.8, ours not run.
_base_ = './nepa_vit-base-p14_8xb512-amp-coslr-1600e_in1k.py'

model = dict(backbone=dict(with_cls_token=False, use_abs_pos_embed=True, act='silu', gated_mlp=True))
