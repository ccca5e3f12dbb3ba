# NEPA pretraining of ViT-B/14 on ImageNet-1k, the released variant: [CLS], GELU.
#
#   bash tools/dist_train.sh configs/pretrain/nepa_vit-base-p14_8xb512-amp-coslr-1600e_in1k.py 8
#
# Hardware: 8 GPUs of 80 GB; the paper took about 3 days on 8 H100.
# Top-1 after fine-tuning (classification/nepa_vit-base-p14_8xb128-coslr-100e_in1k.py): release 83.75, ours not run.
_base_ = [
    '../_base_/models/nepa.py',
    '../_base_/datasets/images_224.py',
    '../_base_/schedules/pretrain_bs4096_adamw.py',
    '../_base_/default_runtime.py',
]

model = dict(data_preprocessor=dict(compile=True), backbone=dict(arch='base', compile=True), head=dict(compile=True))

# 8 GPUs x 512 images = 4096
train_dataloader = dict(batch_size=512)

param_scheduler = dict(warmup=40, end=1600)
train_cfg = dict(max_epochs=1600)
