# Small images without labels, for pretraining on a laptop: CIFAR-10's training images, cifar10/train/<class>/<n>.jpg
train_pipeline = [
    dict(type='nepa_mm.LoadImage'),
    dict(type='RandomResizedCrop', scale=32, crop_ratio_range=(0.3, 1.0), backend='pillow', interpolation='bilinear'),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PackInputs'),
]
train_dataloader = dict(
    batch_size=64,
    num_workers=1,
    persistent_workers=True,
    drop_last=True,
    sampler=dict(type='DefaultSampler', shuffle=True),
    collate_fn=dict(type='default_collate'),
    dataset=dict(
        type='CustomDataset', data_root='data/cifar10', data_prefix='train', with_label=False, pipeline=train_pipeline))
