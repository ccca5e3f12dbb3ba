# Fine-tuning of the small ViT of docs/evidence.md with 1 % of CIFAR-10's labels, 50 a class.
#
#   python tools/analysis_tools/run_evidence.py pretraining   # draws the lists of images that keep their label, and trains
#   python tools/train.py configs/evidence/nepa_vit-micro-p4_1xb64-coslr-40e_cifar10-1pct-32px.py
#
# Hardware: 1 CPU core, about 2 minutes.
_base_ = './nepa_vit-micro-p4_1xb64-coslr-3e_cifar10-32px.py'

train_dataloader = dict(
    dataset=dict(
        data_root='', data_prefix='data/cifar10/train', ann_file='work_dirs/evidence/lists/1pct_seed0.txt'))
param_scheduler = dict(warmup=8, end=40)  # 7 iterations an epoch
train_cfg = dict(max_epochs=40, val_interval=40)
default_hooks = dict(logger=dict(interval=7), checkpoint=dict(interval=40))
