# Validation without training a head: ImageNet-1k's training images vote on its validation images by their features, weighted
# nearest neighbours as in DINO (arXiv 2104.14294). Fits any mmpretrain config of self-supervised pretraining.
# For a smaller bank give it every tenth image, indices=list(range(0, 1281167, 10)); the first n would be of few classes.
feature_pipeline = [
    dict(type='nepa_mm.LoadImage'),
    dict(type='ResizeEdge', scale=256, edge='short', backend='pillow', interpolation='bicubic'),
    dict(type='CenterCrop', crop_size=224),
    dict(type='PackInputs'),
]
bank = dict(type='ImageNet', data_root='data/imagenet', split='train', pipeline=[*feature_pipeline, dict(type='nepa_mm.KNNBank')])
queries = dict(type='ImageNet', data_root='data/imagenet', split='val', pipeline=feature_pipeline)
val_dataloader = dict(
    batch_size=256,
    num_workers=8,
    persistent_workers=False,  # validation is rare; its processes need not wait in memory
    pin_memory=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    collate_fn=dict(type='default_collate'),
    dataset=dict(type='ConcatDataset', datasets=[bank, queries]))
val_evaluator = dict(type='nepa_mm.KNNAccuracy', k=[10, 20], temperature=0.07)
val_cfg = dict(type='nepa_mm.FeatureValLoop', pool='avg')
