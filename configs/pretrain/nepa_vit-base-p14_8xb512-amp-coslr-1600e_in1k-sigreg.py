# NEPA pretraining of ViT-B/14 on ImageNet-1k, without stop-gradient, held apart by SIGReg (arXiv 2607.00958): docs/beyond.md.
#
#   bash tools/dist_train.sh configs/pretrain/nepa_vit-base-p14_8xb512-amp-coslr-1600e_in1k-sigreg.py 8
#
# Hardware: 8 GPUs of 80 GB.
# Top-1 after fine-tuning: paper none, ours not run.
# Widths and the weight of SIGReg are guesses that nothing backs; the source's were not at hand.
_base_ = [
    '../_base_/datasets/images_224.py',
    '../_base_/schedules/pretrain_bs4096_adamw.py',
    '../_base_/default_runtime.py',
]

model = dict(
    type='nepa_mm.NEPA',
    data_preprocessor=dict(
        type='nepa_mm.FusedSelfSupDataPreprocessor', mean=[127.5] * 3, std=[127.5] * 3, to_rgb=True, compile=True),
    backbone=dict(type='nepa_mm.NEPAViT', arch='base', img_size=224, patch_size=14, compile=True),
    head=dict(
        type='nepa_mm.ProjectedLosses',
        projector=dict(type='nepa_mm.Projector', in_channels=768, hidden_channels=2048, out_channels=128),
        losses=[
            dict(type='nepa_mm.MultiEmbeddingLoss', embed_dims=128, distance='mse', stop_grad=False, compile=True),
            dict(type='nepa_mm.SIGReg', num_projections=256, loss_weight=1., compile=True),
        ]))

# 8 GPUs x 512 images = 4096
train_dataloader = dict(batch_size=512)

param_scheduler = dict(warmup=40, end=1600)
train_cfg = dict(max_epochs=1600)
