# The demo's shapes in ADE20K's layout, by colour, with crops of 76 pixels: tools/demo/draw_shapes.py data/shapes
classes = ['background', 'red', 'yellow', 'green', 'cyan', 'blue', 'magenta']
palette = [[40, 40, 40], [230, 60, 60], [240, 200, 60], [60, 180, 75], [70, 220, 230], [70, 110, 230], [240, 80, 190]]
crop_size = (76, 76)

train_pipeline = [
    dict(type='nepa_mm.LoadImage'),
    dict(type='nepa_mm.LoadSegAnnotations', reduce_zero_label=True),
    dict(type='RandomResize', scale=(144, 112), ratio_range=(0.9, 1.4), keep_ratio=True),
    dict(type='nepa_mm.RandomCrop', crop_size=crop_size),
    dict(type='RandomFlip', prob=0.5),
    dict(type='nepa_mm.PackSegInputs'),
]
test_pipeline = [
    dict(type='LoadImageFromFile', imdecode_backend='pillow'),  # mmseg's inferencers look for this name
    dict(type='nepa_mm.LoadSegAnnotations', reduce_zero_label=True),
    dict(type='nepa_mm.PackSegInputs'),
]
dataset = dict(
    type='BaseSegDataset',
    data_root='data/shapes/ADEChallengeData2016',
    img_suffix='.jpg',
    seg_map_suffix='.png',
    reduce_zero_label=True,
    metainfo=dict(classes=classes, palette=palette))
train_dataloader = dict(
    batch_size=8,
    num_workers=1,
    persistent_workers=True,
    sampler=dict(type='InfiniteSampler', shuffle=True),
    dataset=dict(
        data_prefix=dict(img_path='images/training', seg_map_path='annotations/training'), pipeline=train_pipeline, **dataset))
val_dataloader = dict(
    batch_size=1,
    num_workers=1,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        data_prefix=dict(img_path='images/validation', seg_map_path='annotations/validation'), pipeline=test_pipeline, **dataset))
test_dataloader = val_dataloader
val_evaluator = dict(type='nepa_mm.ExactIoUMetric', iou_metrics=['mIoU'])
test_evaluator = val_evaluator
