# UPerNet on ADE20K with a NEPA ViT-B/14 backbone, on crops of 37 whole patches instead of 512 pixels padded to as many.
#
#   bash tools/dist_train.sh configs/segmentation/nepa_vit-base-p14_upernet_8xb2-amp-160k_ade20k-518x518.py 8
#
# Hardware: 8 GPUs. mIoU, single scale: paper none (48.3 with crops of 512 and its own variant), ours not run.
_base_ = './nepa_vit-base-p14_upernet_8xb2-amp-160k_ade20k-512x512.py'

crop_size = (518, 518)
data_preprocessor = dict(size=crop_size)
model = dict(
    data_preprocessor=data_preprocessor,
    backbone=dict(img_size=518),
    test_cfg=dict(crop_size=crop_size, stride=(345, 345)))

train_pipeline = [
    dict(type='nepa_mm.LoadImage'),
    dict(type='nepa_mm.LoadSegAnnotations', reduce_zero_label=True),
    dict(type='RandomResize', scale=(2072, 518), ratio_range=(0.5, 2.0), keep_ratio=True),
    dict(type='RandomCrop', crop_size=crop_size, cat_max_ratio=0.75),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PhotoMetricDistortion'),
    dict(type='PackSegInputs'),
]
test_pipeline = [
    dict(type='LoadImageFromFile', imdecode_backend='pillow'),  # mmseg's inferencers look for this name
    dict(type='Resize', scale=(2072, 518), keep_ratio=True),
    # After Resize: the ground truth keeps its size.
    dict(type='nepa_mm.LoadSegAnnotations', reduce_zero_label=True),
    dict(type='PackSegInputs'),
]
tta_pipeline = [
    dict(type='LoadImageFromFile', imdecode_backend='pillow'),
    dict(
        type='TestTimeAug',
        transforms=[
            [
                dict(type='Resize', scale=(int(2072 * r), int(518 * r)), keep_ratio=True)
                for r in (0.5, 0.75, 1.0, 1.25, 1.5, 1.75)
            ],
            [dict(type='RandomFlip', prob=0.), dict(type='RandomFlip', prob=1., direction='horizontal')],
            [dict(type='nepa_mm.LoadSegAnnotations', reduce_zero_label=True)],
            [dict(type='PackSegInputs')],
        ]),
]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader
