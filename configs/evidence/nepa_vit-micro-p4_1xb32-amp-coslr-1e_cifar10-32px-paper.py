# NEPA pretraining of a ViT of 4 blocks of width 64 on CIFAR-10, the paper's variant, which Table 1 ablates: SwiGLU, learned position
# embedding, no [CLS]. One epoch of small batches, in bfloat16: docs/evidence.md.
#
#   python tools/train.py configs/evidence/nepa_vit-micro-p4_1xb32-amp-coslr-1e_cifar10-32px-paper.py
#
# Hardware: 1 CPU core, about 2 minutes.
_base_ = './nepa_vit-micro-p4_1xb64-coslr-8e_cifar10-32px.py'

model = dict(backbone=dict(with_cls_token=False, use_abs_pos_embed=True, act='silu', gated_mlp=True))
train_dataloader = dict(batch_size=32)
auto_scale_lr = dict(base_batch_size=32)
optim_wrapper = dict(type='nepa_mm.Bf16OptimWrapper')
param_scheduler = dict(warmup=0.1, end=1)  # 1562 iterations
train_cfg = dict(max_epochs=1)
