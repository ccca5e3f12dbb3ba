# Fine-tuning of the small ViT of docs/evidence.md with 10 % of CIFAR-10's labels, 500 a class.
#
#   python tools/analysis_tools/run_evidence.py pretraining   # draws the lists of images that keep their label, and trains
#   python tools/train.py configs/evidence/nepa_vit-micro-p4_1xb64-coslr-12e_cifar10-10pct-32px.py
#
# Hardware: 1 CPU core, about 4 minutes.
_base_ = './nepa_vit-micro-p4_1xb64-coslr-3e_cifar10-32px.py'

train_dataloader = dict(
    dataset=dict(
        data_root='', data_prefix='data/cifar10/train', ann_file='work_dirs/evidence/lists/10pct_seed0.txt'))
param_scheduler = dict(warmup=2.4, end=12)  # 78 iterations an epoch
train_cfg = dict(max_epochs=12, val_interval=12)
default_hooks = dict(checkpoint=dict(interval=12))
