# Validation of a pretraining on CIFAR-10 without labels: 100 test images of each class, each in ten random crops, by how many
# dimensions their features use
val_pipeline = [
    dict(type='nepa_mm.LoadImage'),
    dict(type='RandomResizedCrop', scale=32, crop_ratio_range=(0.3, 1.0), backend='pillow', interpolation='bilinear'),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PackInputs'),
]
val_dataloader = dict(
    batch_size=250,
    num_workers=1,
    sampler=dict(type='DefaultSampler', shuffle=False),
    collate_fn=dict(type='default_collate'),
    dataset=dict(type='RepeatDataset', times=10, dataset=dict(
        type='CustomDataset', data_root='data/cifar10', data_prefix='test', with_label=False, pipeline=val_pipeline,
        indices=list(range(0, 10_000, 10)))))
val_evaluator = [dict(type='nepa_mm.RankMe'), dict(type='nepa_mm.LiDAR')]
val_cfg = dict(type='nepa_mm.FeatureValLoop')
