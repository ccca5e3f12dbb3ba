# MAE pretraining as nepa_vit-micro-p4_1xb32-amp-coslr-1e_cifar10-32px.py: one epoch of small batches, in bfloat16. docs/evidence.md
# asks with it what MAE's target is worth.
#
#   python tools/train.py configs/evidence/mae_nepa-vit-micro-p4_1xb32-amp-coslr-1e_cifar10-32px.py
#
# Hardware: 1 CPU core, about 2 minutes.
_base_ = './mae_nepa-vit-micro-p4_1xb64-coslr-8e_cifar10-32px.py'

train_dataloader = dict(batch_size=32)
auto_scale_lr = dict(base_batch_size=32)
optim_wrapper = dict(type='nepa_mm.Bf16OptimWrapper')
param_scheduler = dict(warmup=0.1, end=1)  # 1562 iterations
train_cfg = dict(max_epochs=1)
