# Pascal VOC 2012 with 512 x 512 crops, as in mmseg: trained on its own 1,464 images and on those of SBD that are in neither of
# its splits, 10,582 in all (mmseg's tools/dataset_converters/voc_aug.py writes SegmentationClassAug and aug.txt); batch 16 on
# 8 GPUs, not 4.
dataset_type = 'PascalVOCDataset'
data_root = 'data/VOCdevkit/VOC2012'
crop_size = (512, 512)

train_pipeline = [
    dict(type='nepa_mm.LoadImage'),
    dict(type='nepa_mm.LoadSegAnnotations'),
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
    dict(type='nepa_mm.LoadSegAnnotations'),
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
            [dict(type='nepa_mm.LoadSegAnnotations')],
            [dict(type='nepa_mm.PackSegInputs')],
        ]),
]
dataset_train = dict(
    type=dataset_type,
    data_root=data_root,
    ann_file='ImageSets/Segmentation/train.txt',
    data_prefix=dict(img_path='JPEGImages', seg_map_path='SegmentationClass'),
    pipeline=train_pipeline)
dataset_aug = dict(
    type=dataset_type,
    data_root=data_root,
    ann_file='ImageSets/Segmentation/aug.txt',
    data_prefix=dict(img_path='JPEGImages', seg_map_path='SegmentationClassAug'),
    pipeline=train_pipeline)
train_dataloader = dict(
    batch_size=2,
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type='InfiniteSampler', shuffle=True),
    dataset=dict(type='ConcatDataset', datasets=[dataset_train, dataset_aug]))
val_dataloader = dict(
    batch_size=1,
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type=dataset_type,
        data_root=data_root,
        ann_file='ImageSets/Segmentation/val.txt',
        data_prefix=dict(img_path='JPEGImages', seg_map_path='SegmentationClass'),
        pipeline=test_pipeline))
test_dataloader = val_dataloader
val_evaluator = dict(type='nepa_mm.ExactIoUMetric', iou_metrics=['mIoU'])
test_evaluator = val_evaluator
