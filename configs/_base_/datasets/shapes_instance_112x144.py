# The demo's shapes in COCO's layout, by colour: tools/demo/draw_coco.py data/shapes_coco
data_root = 'data/shapes_coco/'
metainfo = dict(
    classes=('red', 'yellow', 'green', 'cyan', 'blue', 'magenta'),
    palette=[(230, 60, 60), (240, 200, 60), (60, 180, 75), (70, 220, 230), (70, 110, 230), (240, 80, 190)])
train_dataloader = dict(
    batch_size=8,
    num_workers=1,
    persistent_workers=True,
    sampler=dict(type='InfiniteSampler', shuffle=True),
    dataset=dict(
        type='CocoDataset',
        data_root=data_root,
        ann_file='annotations/instances_train2017.json',
        data_prefix=dict(img='train2017/'),
        metainfo=metainfo,
        filter_cfg=dict(filter_empty_gt=True),
        pipeline=[
            dict(type='nepa_mm.LoadImage'),
            dict(type='LoadAnnotations', with_bbox=True, with_mask=True),
            dict(type='RandomFlip', prob=0.5),
            dict(type='PackDetInputs'),
        ]))
val_dataloader = dict(
    batch_size=1,
    num_workers=1,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type='CocoDataset',
        data_root=data_root,
        ann_file='annotations/instances_val2017.json',
        data_prefix=dict(img='val2017/'),
        metainfo=metainfo,
        test_mode=True,
        pipeline=[
            dict(type='LoadImageFromFile', imdecode_backend='pillow'),
            dict(type='Resize', scale=(144, 112), keep_ratio=True),  # to their own size; mmdet asks for its scale
            dict(type='LoadAnnotations', with_bbox=True, with_mask=True),
            dict(type='PackDetInputs', meta_keys=('img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor')),
        ]))
test_dataloader = val_dataloader
val_evaluator = dict(
    type='CocoMetric', ann_file=data_root + 'annotations/instances_val2017.json', metric=['bbox', 'segm'], format_only=False)
test_evaluator = val_evaluator
