# MoCo v3 pretraining of the NEPA ViT-B/14 on ImageNet-1k: MoCo v3 with LayerScale, RoPE and QK-norm.
#
#   bash tools/dist_train.sh configs/pretrain/mocov3_nepa-vit-base-p14_8xb512-amp-coslr-300e_in1k.py 8
#
# Hardware: 8 GPUs of 80 GB.
# Top-1 of linear probing: paper none, ours not run.
# Pixel scale is NEPA's; views, heads, loss, optimizer and schedule are MoCo v3's as mmpretrain has them for ViT-B/16.
_base_ = [
    '../_base_/datasets/images_224.py',
    '../_base_/schedules/pretrain_bs4096_adamw.py',
    '../_base_/default_runtime.py',
]

temperature = 0.2


def mlp(in_channels, num_layers):
    """The projector or the predictor, which differ in these two."""
    return dict(
        type='NonLinearNeck',
        in_channels=in_channels,
        hid_channels=4096,
        out_channels=256,
        num_layers=num_layers,
        with_bias=False,
        with_last_bn=True,
        with_last_bn_affine=False,
        with_last_bias=False,
        with_avg_pool=False)


model = dict(
    type='MoCoV3',
    base_momentum=0.01,
    data_preprocessor=dict(type='SelfSupDataPreprocessor', mean=[127.5] * 3, std=[127.5] * 3, to_rgb=True),
    backbone=dict(
        type='nepa_mm.NEPAViT',
        arch='base',
        img_size=224,
        patch_size=14,
        causal=False,
        out_type='cls_token',
        frozen_stages=0,  # the patch embedding stays as it is drawn, which MoCo v3 does for stability
        init_cfg=dict(type='Uniform', layer='Conv2d', a=-(6 / (3 * 14**2 + 768))**0.5, b=(6 / (3 * 14**2 + 768))**0.5)),
    neck=mlp(768, num_layers=3),
    head=dict(
        type='MoCoV3Head',
        predictor=mlp(256, num_layers=2),
        loss=dict(type='CrossEntropyLoss', loss_weight=2 * temperature),
        temperature=temperature))


def view(blur, solarize):
    """Transforms of one of the two views, which differ in two probabilities."""
    return [
        dict(type='RandomResizedCrop', scale=224, crop_ratio_range=(0.08, 1.), backend='pillow'),
        dict(
            type='RandomApply',
            transforms=[dict(type='ColorJitter', brightness=0.4, contrast=0.4, saturation=0.2, hue=0.1)],
            prob=0.8),
        dict(type='RandomGrayscale', prob=0.2, keep_channels=True, channel_weights=(0.114, 0.587, 0.2989)),
        dict(type='GaussianBlur', magnitude_range=(0.1, 2.0), magnitude_std='inf', prob=blur),
        dict(type='Solarize', thr=128, prob=solarize),
        dict(type='RandomFlip', prob=0.5),
    ]


train_pipeline = [
    dict(type='nepa_mm.LoadImage'),
    dict(type='MultiView', num_views=[1, 1], transforms=[view(1., 0.), view(0.1, 0.2)]),
    dict(type='PackInputs'),
]
# 8 GPUs x 512 images = 4096
train_dataloader = dict(batch_size=512, dataset=dict(pipeline=train_pipeline))

# MoCo v3 clips no gradients; its average is in the model.
optim_wrapper = dict(optimizer=dict(lr=2.4e-3, betas=(0.9, 0.999), weight_decay=0.1), clip_grad=None)
custom_hooks = []
param_scheduler = dict(warmup=40, end=300)
train_cfg = dict(max_epochs=300)
