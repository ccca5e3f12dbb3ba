# NEPA pretraining of a ViT of 4 blocks of width 64 on CIFAR-10, the paper's variant, which Table 1 ablates: SwiGLU, learned position
# embedding, no [CLS]. docs/evidence.md.
#
#   python tools/train.py configs/evidence/nepa_vit-micro-p4_1xb64-coslr-2e_cifar10-32px-paper.py
#
# Hardware: 1 CPU core, about 6 minutes.
_base_ = './nepa_vit-micro-p4_1xb64-coslr-8e_cifar10-32px.py'

model = dict(backbone=dict(with_cls_token=False, use_abs_pos_embed=True, act='silu', gated_mlp=True))
param_scheduler = dict(end=2)
train_cfg = dict(max_epochs=2)
