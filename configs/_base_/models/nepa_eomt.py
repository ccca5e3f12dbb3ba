# EoMT over a bidirectional NEPA ViT: queries inside its last blocks; losses are Mask2Former's, as mmseg has them for ADE20K
custom_imports = dict(imports=['nepa_mm.ops'], allow_failed_imports=False)
data_preprocessor = dict(  # here as well as in the model, for mmseg's visualization_cam
    type='nepa_mm.SegDataPreProcessor',
    mean=[127.5] * 3,
    std=[127.5] * 3,
    bgr_to_rgb=True,
    pad_val=0,
    seg_pad_val=255,
    size=(512, 512))
model = dict(
    type='nepa_mm.EoMT',
    data_preprocessor=data_preprocessor,
    backbone=dict(
        type='nepa_mm.NEPAViT',
        img_size=512,
        patch_size=14,
        causal=False,
        out_type='padded_featmap',
        qk_norm='affine',
        init_cfg=dict(type='Pretrained', checkpoint='', prefix='backbone.')),
    decode_head=dict(
        type='nepa_mm.EoMTHead',
        embed_dims=768,
        num_classes=150,
        num_queries=100,
        num_blocks=3,
        num_upscales=2,
        loss_cls=dict(
            type='mmdet.CrossEntropyLoss', use_sigmoid=False, loss_weight=2.0, reduction='mean', class_weight=[1.0] * 150 + [0.1]),
        loss_mask=dict(type='mmdet.CrossEntropyLoss', use_sigmoid=True, reduction='mean', loss_weight=5.0),
        loss_dice=dict(
            type='mmdet.DiceLoss', use_sigmoid=True, activate=True, reduction='mean', naive_dice=True, eps=1.0, loss_weight=5.0),
        train_cfg=dict(
            num_points=12544,
            oversample_ratio=3.0,
            importance_sample_ratio=0.75,
            assigner=dict(
                type='mmdet.HungarianAssigner',
                match_costs=[
                    dict(type='mmdet.ClassificationCost', weight=2.0),
                    dict(type='mmdet.CrossEntropyLossCost', weight=5.0, use_sigmoid=True),
                    dict(type='mmdet.DiceCost', weight=5.0, pred_act=True, eps=1.0),
                ]),
            sampler=dict(type='mmdet.MaskPseudoSampler'))),
    train_cfg=dict(),
    test_cfg=dict(mode='slide', crop_size=(512, 512), stride=(341, 341)))
