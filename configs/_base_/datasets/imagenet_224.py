# ImageNet-1k for fine-tuning, with the release's own timm transforms: under one seed the pixels are the release's, bit for bit
# (tested with timm 1.0.31; the boxes of CutMix are others before 1.0.29).
# on_device leaves timm's floats to the model's data_preprocessor, nepa_mm.TimmDataPreprocessor, whose timm_mean and timm_std are the
# mean and std here: images stay uint8 on their way to the GPU. Mixup and cutmix are in the model.
# Without it timm's floats come from the workers, for any data_preprocessor that does not normalise: the same numbers in more time.
# whole=False has nvImageCodec, if it is installed, decode no more than the crop.
# compile resizes and turns images by C that is compiled at first use, to Pillow's pixels; without a C compiler Pillow does it.
# A leaf with another test sets test_pipeline and both loaders' dataset.pipeline: crop_pct 0.875 resizes the short side to 256;
# the release's large model has crop_pct=0.95, crop_mode='squash', which makes both sides 235.
# For images in Hugging Face's format (val_dataloader alike): --cfg-options train_dataloader.dataset.type=nepa_mm.HFImageDataset
#   train_dataloader.dataset.data_root=data/imagenet-1k-hf
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
    dict(type='nepa_mm.PackTimm'),  # PackInputs, and the erased patches
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
    batch_size=128,
    num_workers=8,
    persistent_workers=True,
    pin_memory=True,
    drop_last=True,
    sampler=dict(type='DefaultSampler', shuffle=True),
    collate_fn=dict(type='nepa_mm.collate_and_hold'),
    dataset=dict(type='ImageNet', data_root='data/imagenet', split='train', pipeline=train_pipeline))
val_dataloader = dict(
    batch_size=128,
    num_workers=8,
    persistent_workers=True,
    pin_memory=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    collate_fn=dict(type='nepa_mm.collate_and_hold'),
    dataset=dict(type='ImageNet', data_root='data/imagenet', split='val', pipeline=test_pipeline))
test_dataloader = val_dataloader
val_evaluator = dict(type='Accuracy', topk=(1, 5))
test_evaluator = val_evaluator
