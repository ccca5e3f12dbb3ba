# Any folder of images, for pretraining; ImageNet-1k's training images by default. Labels are not read.
# Augmentation of the paper (section 4.1) and the release, torchvision's default crop and a flip: under one seed the release's
# pixels bit for bit (docs/performance.md). C of ours, compiled at first use, resizes as Pillow does. Without a C compiler a line
# says so, and Pillow does it. Then --cfg-options train_dataloader.dataset.pipeline.1.backend=torchvision takes less time, and 3 %
# of the values differ by 1 of 255.
# Crops alone are decoded, in less time, after pip install nvidia-nvimgcodec-cu13.
# For images in Hugging Face's format, or packed by tools/dataset_converters/pack_images.py:
#   --cfg-options train_dataloader.dataset.type=nepa_mm.HFImageDataset train_dataloader.dataset.data_root=data/imagenet-1k-hf
train_pipeline = [
    dict(type='nepa_mm.LoadImage', whole=False),  # left to the crop that follows, if nvImageCodec is installed
    dict(type='nepa_mm.RandomResizedCropFlip', size=224, scale=(0.08, 1.0), prob=0.5, backend='pillow'),
    dict(type='nepa_mm.PackPixels'),  # in mm's BGR; the data_preprocessor turns it back and normalises it on the device
]
train_dataloader = dict(
    batch_size=512,
    num_workers=8,  # for each GPU; a core gives some 300 to 600 images/s. Each is 2 batches ahead, in 1.2 GB for all
    persistent_workers=True,
    pin_memory=True,
    drop_last=True,
    sampler=dict(type='DefaultSampler', shuffle=True),
    collate_fn=dict(type='nepa_mm.collate_and_hold'),  # the worker stacks a batch, which travels as one tensor
    dataset=dict(type='CustomDataset', data_root='data/imagenet', data_prefix='train', with_label=False, pipeline=train_pipeline))
