# Fine-tuning of the small ViT of docs/evidence.md with 10 % of CIFAR-10's labels, 500 a class, in small batches and bfloat16: model size.
#
#   python tools/analysis_tools/run_evidence.py sizes   # draws the lists of images that keep their label, and trains
#   python tools/train.py configs/evidence/nepa_vit-micro-p4_1xb32-amp-coslr-5e_cifar10-10pct-32px.py
#
# Hardware: 1 CPU core, about 2 minutes.
_base_ = './nepa_vit-micro-p4_1xb64-coslr-3e_cifar10-32px.py'

model = dict(
    backbone=dict(init_cfg=dict(checkpoint='work_dirs/nepa_vit-micro-p4_1xb32-amp-coslr-1e_cifar10-32px/epoch_1.pth')))
train_dataloader = dict(
    batch_size=32,
    dataset=dict(
        data_root='', data_prefix='data/cifar10/train', ann_file='work_dirs/evidence/lists/10pct_seed0.txt'))
auto_scale_lr = dict(base_batch_size=32)
optim_wrapper = dict(type='nepa_mm.Bf16OptimWrapper')
param_scheduler = dict(warmup=1, end=5)  # 156 iterations an epoch
train_cfg = dict(max_epochs=5, val_interval=5)
default_hooks = dict(checkpoint=dict(interval=5))
