# Training images of CamVid and CIFAR-10 without labels at 64 pixels: in an epoch 68 crops of each CamVid image, a third of all, and
# CIFAR-10's images enlarged
camvid_pipeline = [
    dict(type='nepa_mm.LoadImage'),
    dict(type='RandomResizedCrop', scale=64, crop_ratio_range=(0.015, 0.12), backend='pillow', interpolation='bilinear'),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PackInputs'),
]
cifar10_pipeline = [
    dict(type='nepa_mm.LoadImage'),
    dict(type='RandomResizedCrop', scale=64, crop_ratio_range=(0.3, 1.0), backend='pillow', interpolation='bilinear'),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PackInputs'),
]
train_dataloader = dict(
    batch_size=32,
    num_workers=1,
    persistent_workers=True,
    drop_last=True,
    sampler=dict(type='DefaultSampler', shuffle=True),
    collate_fn=dict(type='default_collate'),
    dataset=dict(
        type='ConcatDataset',
        datasets=[
            dict(
                type='RepeatDataset',
                times=68,
                dataset=dict(
                    type='CustomDataset',
                    data_root='data/camvid',
                    data_prefix='images/training',
                    with_label=False,
                    pipeline=camvid_pipeline)),
            dict(
                type='CustomDataset',
                data_root='data/cifar10',
                data_prefix='train',
                with_label=False,
                pipeline=cifar10_pipeline),
        ]))
