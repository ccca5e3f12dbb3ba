# camvid_512.py at the images' own 480 x 360 pixels, with 224 x 224 crops and small loaders, for a laptop
_base_ = './camvid_512.py'

crop_size = (224, 224)
train_pipeline = [
    dict(type='nepa_mm.LoadImage'),
    dict(type='nepa_mm.LoadSegAnnotations'),
    dict(type='RandomResize', scale=(480, 360), ratio_range=(0.75, 1.5), keep_ratio=True),
    dict(type='nepa_mm.RandomCrop', crop_size=crop_size, cat_max_ratio=0.75, ignore_index=_base_.unlabelled),
    dict(type='RandomFlip', prob=0.5),
    dict(type='nepa_mm.PhotoMetricDistortion'),
    dict(type='nepa_mm.PackSegInputs'),
]
test_pipeline = [
    dict(type='LoadImageFromFile', imdecode_backend='pillow'),  # mmseg's inferencers look for this name
    dict(type='nepa_mm.LoadSegAnnotations'),
    dict(type='nepa_mm.PackSegInputs'),
]
tta_pipeline = [
    dict(type='LoadImageFromFile', imdecode_backend='pillow'),
    dict(
        type='TestTimeAug',
        transforms=[
            [dict(type='Resize', scale_factor=r, keep_ratio=True) for r in (0.5, 0.75, 1.0, 1.25, 1.5, 1.75)],
            [dict(type='RandomFlip', prob=0.), dict(type='RandomFlip', prob=1., direction='horizontal')],
            [dict(type='nepa_mm.LoadSegAnnotations')],
            [dict(type='nepa_mm.PackSegInputs')],
        ]),
]
train_dataloader = dict(batch_size=4, num_workers=1, dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(num_workers=1, dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader
