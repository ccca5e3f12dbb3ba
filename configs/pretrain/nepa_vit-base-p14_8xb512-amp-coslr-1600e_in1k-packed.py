# NEPA pretraining of ViT-B/14 on ImageNet-1k, with images of several sizes and shapes in a batch: docs/beyond.md.
#
#   bash tools/dist_train.sh configs/pretrain/nepa_vit-base-p14_8xb512-amp-coslr-1600e_in1k-packed.py 8
#
# Hardware: 8 GPUs of 80 GB.
# Top-1 after fine-tuning: paper none, ours not run.
_base_ = './nepa_vit-base-p14_8xb512-amp-coslr-1600e_in1k.py'

model = dict(
    type='nepa_mm.PackedNEPA',
    data_preprocessor=dict(type='nepa_mm.PackedDataPreprocessor', compile=False),
    backbone=dict(type='nepa_mm.PackedNEPAViT', compile=False),
    head=dict(compile=False))

# The longer side is of 112 to 392 pixels: photos of 4 : 3 have on average as many patches as those of 224 x 224
train_pipeline = [
    dict(type='nepa_mm.LoadImage'),
    dict(type='RandomResize', scale=(224, 224), ratio_range=(0.5, 1.75), keep_ratio=True),
    dict(type='RandomFlip', prob=0.5),
    dict(type='nepa_mm.PackPixels'),
]
train_dataloader = dict(collate_fn=dict(type='pseudo_collate'), dataset=dict(pipeline=train_pipeline))
