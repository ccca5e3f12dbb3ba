# ADE20K with 512 x 512 crops, as in mmseg
dataset_type = 'ADE20KDataset'
data_root = 'data/ade/ADEChallengeData2016'
crop_size = (512, 512)

train_pipeline = [
    dict(type='nepa_mm.LoadImage'),
    dict(type='nepa_mm.LoadSegAnnotations', reduce_zero_label=True),
    dict(type='RandomResize', scale=(2048, 512), ratio_range=(0.5, 2.0), keep_ratio=True),
    dict(type='nepa_mm.RandomCrop', crop_size=crop_size, cat_max_ratio=0.75),
    dict(type='RandomFlip', prob=0.5),
    dict(type='nepa_mm.PhotoMetricDistortion'),
    dict(type='nepa_mm.PackSegInputs'),
]
test_pipeline = [
    dict(type='LoadImageFromFile', imdecode_backend='pillow'),  # mmseg's inferencers look for this name
    dict(type='Resize', scale=(2048, 512), keep_ratio=True),
    # After Resize: the ground truth keeps its size.
    dict(type='nepa_mm.LoadSegAnnotations', reduce_zero_label=True),
    dict(type='nepa_mm.PackSegInputs'),
]
# Ratios of the size of the single-scale test; mmseg's own take them of the file's size, which differs from image to image.
tta_pipeline = [
    dict(type='LoadImageFromFile', imdecode_backend='pillow'),
    dict(
        type='TestTimeAug',
        transforms=[
            [
                dict(type='Resize', scale=(int(2048 * r), int(512 * r)), keep_ratio=True)
                for r in (0.5, 0.75, 1.0, 1.25, 1.5, 1.75)
            ],
            [dict(type='RandomFlip', prob=0.), dict(type='RandomFlip', prob=1., direction='horizontal')],
            [dict(type='nepa_mm.LoadSegAnnotations', reduce_zero_label=True)],
            [dict(type='nepa_mm.PackSegInputs')],
        ]),
]
train_dataloader = dict(
    batch_size=2,
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type='InfiniteSampler', shuffle=True),
    dataset=dict(
        type=dataset_type,
        data_root=data_root,
        data_prefix=dict(img_path='images/training', seg_map_path='annotations/training'),
        pipeline=train_pipeline))
val_dataloader = dict(
    batch_size=1,
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type=dataset_type,
        data_root=data_root,
        data_prefix=dict(img_path='images/validation', seg_map_path='annotations/validation'),
        pipeline=test_pipeline))
test_dataloader = val_dataloader
val_evaluator = dict(type='nepa_mm.ExactIoUMetric', iou_metrics=['mIoU'])
test_evaluator = val_evaluator
