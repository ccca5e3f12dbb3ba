# Any folder of images, for pretraining; ImageNet-1k's training images by default. Labels are not read.
# Augmentation of the paper (section 4.1) and the release, torchvision's default crop and a flip on Pillow's pixels: under one
# seed of torch the pixels are the release's, bit for bit.
# For images in Hugging Face's format: --cfg-options train_dataloader.dataset.type=nepa_mm.HFImageDataset
#   train_dataloader.dataset.data_root=data/imagenet-1k-hf
train_pipeline = [
    dict(type='nepa_mm.LoadImage'),
    dict(type='NumpyToPIL', to_rgb=True),
    dict(type='torchvision/RandomResizedCrop', size=224, scale=(0.08, 1.0), interpolation='bilinear'),
    dict(type='torchvision/RandomHorizontalFlip', p=0.5),
    dict(type='PILToNumpy', to_bgr=True),  # mm's convention; the data_preprocessor turns it back
    dict(type='PackInputs'),
]
train_dataloader = dict(
    batch_size=512,
    num_workers=8,
    persistent_workers=True,
    pin_memory=True,
    drop_last=True,
    sampler=dict(type='DefaultSampler', shuffle=True),
    collate_fn=dict(type='default_collate'),
    dataset=dict(type='CustomDataset', data_root='data/imagenet', data_prefix='train', with_label=False, pipeline=train_pipeline))
