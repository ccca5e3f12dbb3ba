# Cityscapes with crops of 512 rows x 1024 columns, as in mmseg; loaders and metric are those of ADE20K
_base_ = './ade20k_512.py'

dataset_type = 'CityscapesDataset'
data_root = 'data/cityscapes'
crop_size = (512, 1024)

train_pipeline = [
    dict(type='nepa_mm.LoadImage'),
    dict(type='nepa_mm.LoadSegAnnotations'),
    dict(type='RandomResize', scale=(2048, 1024), ratio_range=(0.5, 2.0), keep_ratio=True),
    dict(type='nepa_mm.RandomCrop', crop_size=crop_size, cat_max_ratio=0.75),
    dict(type='RandomFlip', prob=0.5),
    dict(type='nepa_mm.PhotoMetricDistortion'),
    dict(type='nepa_mm.PackSegInputs'),
]
test_pipeline = [
    dict(type='LoadImageFromFile', imdecode_backend='pillow'),  # mmseg's inferencers look for this name
    dict(type='Resize', scale=(2048, 1024), keep_ratio=True),
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
                dict(type='Resize', scale=(int(2048 * r), int(1024 * r)), keep_ratio=True)
                for r in (0.5, 0.75, 1.0, 1.25, 1.5, 1.75)
            ],
            [dict(type='RandomFlip', prob=0.), dict(type='RandomFlip', prob=1., direction='horizontal')],
            [dict(type='nepa_mm.LoadSegAnnotations')],
            [dict(type='nepa_mm.PackSegInputs')],
        ]),
]
train_dataloader = dict(
    dataset=dict(
        type=dataset_type,
        data_root=data_root,
        data_prefix=dict(img_path='leftImg8bit/train', seg_map_path='gtFine/train'),
        pipeline=train_pipeline))
val_dataloader = dict(
    dataset=dict(
        type=dataset_type,
        data_root=data_root,
        data_prefix=dict(img_path='leftImg8bit/val', seg_map_path='gtFine/val'),
        pipeline=test_pipeline))
test_dataloader = val_dataloader
