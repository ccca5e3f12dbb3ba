# UPerNet on ADE20K with a NEPA ViT-B/14 backbone, on crops of 37 whole patches instead of 512 pixels padded to as many.
#
#   bash tools/dist_train.sh configs/segmentation/nepa_vit-base-p14_upernet_8xb2-amp-160k_ade20k-518x518.py 8
#
# Hardware: 8 GPUs. mIoU, single scale: paper none (48.3 with crops of 512 and its own variant), ours not run.
_base_ = './nepa_vit-base-p14_upernet_8xb2-amp-160k_ade20k-512x512.py'

crop_size = (518, 518)
data_preprocessor = dict(size=crop_size)
model = dict(
    data_preprocessor=data_preprocessor,
    backbone=dict(img_size=518),
    test_cfg=dict(crop_size=crop_size, stride=(345, 345)))


def resized(step):
    """A step of ADE20K's pipelines for crops of 518 pixels: images grow as the crop does."""
    sizes = dict(scale=(2072, 518), crop_size=crop_size)
    return dict(step, **{key: size for key, size in sizes.items() if key in step})


train_pipeline = [resized(step) for step in _base_.train_pipeline]
test_pipeline = [resized(step) for step in _base_.test_pipeline]
tta_pipeline = [
    _base_.tta_pipeline[0],
    dict(
        type='TestTimeAug',
        transforms=[
            [
                dict(type='Resize', scale=(int(2072 * r), int(518 * r)), keep_ratio=True)
                for r in (0.5, 0.75, 1.0, 1.25, 1.5, 1.75)
            ],
            *_base_.tta_pipeline[1].transforms[1:],
        ]),
]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader
