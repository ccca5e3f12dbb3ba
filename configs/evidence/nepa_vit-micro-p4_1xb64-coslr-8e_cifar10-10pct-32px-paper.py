# Fine-tuning of the small ViT of docs/evidence.md with 10 % of CIFAR-10's labels, the paper's recipe (section 4.1): last token,
# layer-wise decay rising linearly from 0.35 to 1.
#
#   python tools/analysis_tools/run_evidence.py table1a   # draws the lists of images that keep their label, and trains
#   python tools/train.py configs/evidence/nepa_vit-micro-p4_1xb64-coslr-8e_cifar10-10pct-32px-paper.py
#
# Hardware: 1 CPU core, about 3 minutes.
_base_ = './nepa_vit-micro-p4_1xb64-coslr-3e_cifar10-32px.py'

model = dict(
    backbone=dict(
        out_type='last_token',
        with_cls_token=False,
        use_abs_pos_embed=True,
        act='silu',
        gated_mlp=True,
        init_cfg=dict(checkpoint='work_dirs/nepa_vit-micro-p4_1xb64-coslr-2e_cifar10-32px-paper/epoch_2.pth')))
train_dataloader = dict(
    dataset=dict(
        data_root='', data_prefix='data/cifar10/train', ann_file='work_dirs/evidence/lists/10pct_seed0.txt'))
param_scheduler = dict(decay=0.35, decay_end=1.0, decay_anneal='linear', warmup=1, end=8)
train_cfg = dict(max_epochs=8, val_interval=8)
default_hooks = dict(checkpoint=dict(interval=8))
