# UPerNet on a bidirectional NEPA ViT, as mmseg builds it for MAE
norm_cfg = dict(type='SyncBN', requires_grad=True)
data_preprocessor = dict(  # here as well as in the model, for mmseg's visualization_cam
    type='nepa_mm.SegDataPreProcessor',
    mean=[127.5] * 3,
    std=[127.5] * 3,
    bgr_to_rgb=True,
    pad_val=0,
    seg_pad_val=255,
    size=(512, 512))
model = dict(
    type='nepa_mm.PaddedEncoderDecoder',
    data_preprocessor=data_preprocessor,
    backbone=dict(
        type='nepa_mm.NEPAViT',
        img_size=512,
        patch_size=14,
        causal=False,
        out_type='padded_featmap',  # 37 x 37 patches of 14 pixels, 518; logits are cropped to 512
        out_indices=[3, 5, 7, 11],
        qk_norm='affine',
        init_cfg=dict(type='Pretrained', checkpoint='', prefix='backbone.')),
    neck=dict(type='Feature2Pyramid', embed_dim=768, rescales=[4, 2, 1, 0.5]),
    decode_head=dict(
        type='UPerHead',
        in_channels=[768, 768, 768, 768],
        in_index=[0, 1, 2, 3],
        pool_scales=(1, 2, 3, 6),
        channels=768,
        dropout_ratio=0.1,
        num_classes=150,
        norm_cfg=norm_cfg,
        align_corners=False,
        loss_decode=dict(type='CrossEntropyLoss', use_sigmoid=False, loss_weight=1.0)),
    auxiliary_head=dict(
        type='FCNHead',
        in_channels=768,
        in_index=2,
        channels=256,
        num_convs=1,
        concat_input=False,
        dropout_ratio=0.1,
        num_classes=150,
        norm_cfg=norm_cfg,
        align_corners=False,
        loss_decode=dict(type='CrossEntropyLoss', use_sigmoid=False, loss_weight=0.4)),
    train_cfg=dict(),
    test_cfg=dict(mode='slide', crop_size=(512, 512), stride=(341, 341)))
