# Images of your own with label maps, as tools/new_config.py writes configs for them: folders, classes and pipelines are the leaf's.
train_dataloader = dict(
    batch_size=2,
    num_workers=2,
    persistent_workers=True,
    sampler=dict(type='InfiniteSampler', shuffle=True))
val_dataloader = dict(
    batch_size=1,
    num_workers=2,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False))
val_evaluator = dict(type='nepa_mm.ExactIoUMetric', iou_metrics=['mIoU'])
test_evaluator = val_evaluator
