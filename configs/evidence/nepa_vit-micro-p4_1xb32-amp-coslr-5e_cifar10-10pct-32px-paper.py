# Fine-tuning of the small ViT of docs/evidence.md with 10 % of CIFAR-10's labels, the paper's recipe (section 4.1): last token,
# layer-wise decay rising linearly from 0.35 to 1. In small batches and bfloat16.
#
#   python tools/analysis_tools/run_evidence.py table1a   # draws the lists of images that keep their label, and trains
#   python tools/train.py configs/evidence/nepa_vit-micro-p4_1xb32-amp-coslr-5e_cifar10-10pct-32px-paper.py
#
# Hardware: 1 CPU core, about 2 minutes.
_base_ = './nepa_vit-micro-p4_1xb64-coslr-3e_cifar10-32px.py'

model = dict(
    backbone=dict(
        out_type='last_token',
        with_cls_token=False,
        use_abs_pos_embed=True,
        act='silu',
        gated_mlp=True,
        init_cfg=dict(checkpoint='work_dirs/nepa_vit-micro-p4_1xb32-amp-coslr-1e_cifar10-32px-paper/epoch_1.pth')))
train_dataloader = dict(
    batch_size=32,
    dataset=dict(
        data_root='', data_prefix='data/cifar10/train', ann_file='work_dirs/evidence/lists/10pct_seed0.txt'))
auto_scale_lr = dict(base_batch_size=32)
optim_wrapper = dict(type='nepa_mm.Bf16OptimWrapper')
param_scheduler = dict(decay=0.35, decay_end=1.0, decay_anneal='linear', warmup=1, end=5)  # 156 iterations an epoch
train_cfg = dict(max_epochs=5, val_interval=5)
default_hooks = dict(checkpoint=dict(interval=5))
