# Images of your own with their classes, as tools/new_config.py writes configs for them: folders, lists and classes are the leaf's.
# timm's transforms of the release at 224 pixels, see imagenet_224.py; the leaf may name a pipeline of its own.
train_pipeline = [
    dict(type='nepa_mm.LoadImage', whole=False),
    dict(
        type='nepa_mm.TimmTransform',
        input_size=224,
        is_training=True,
        auto_augment='rand-m9-mstd0.5-inc1',
        interpolation='bicubic',
        re_prob=0.25,
        re_mode='pixel',
        re_count=1,
        mean=[0.5] * 3,
        std=[0.5] * 3,
        on_device=True,
        compile=True),
    dict(type='nepa_mm.PackTimm'),
]
test_pipeline = [
    dict(type='nepa_mm.LoadImage', whole=False),
    dict(
        type='nepa_mm.TimmTransform',
        input_size=224,
        is_training=False,
        interpolation='bicubic',
        crop_pct=0.875,
        mean=[0.5] * 3,
        std=[0.5] * 3,
        on_device=True,
        compile=True),
    dict(type='PackInputs'),
]
train_dataloader = dict(
    batch_size=64,
    num_workers=2,
    persistent_workers=True,
    drop_last=True,
    sampler=dict(type='DefaultSampler', shuffle=True),
    collate_fn=dict(type='nepa_mm.collate_and_hold'))
val_dataloader = dict(
    batch_size=64,
    num_workers=2,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    collate_fn=dict(type='nepa_mm.collate_and_hold'))
val_evaluator = dict(type='Accuracy', topk=1)
