# Classifier of the release: bidirectional, mean of patch tokens, fc_norm, affine QK-norm, patch embedding frozen, head from zero
model = dict(
    type='ImageClassifier',
    # Normalises what timm's transforms leave it, by a mean and std of 0.5; see datasets/imagenet_224.py
    data_preprocessor=dict(type='nepa_mm.TimmDataPreprocessor', to_onehot=True, num_classes=1000),
    backbone=dict(
        type='nepa_mm.NEPAViT',
        img_size=224,
        patch_size=14,
        causal=False,
        out_type='avg_featmap',
        qk_norm='affine',  # base's pretraining has none; created as ones
        frozen_stages=0,  # the patch embedding alone
        # The state_dict of a pretraining checkpoint is the EMA's; raw:PATH for the raw weights.
        init_cfg=dict(type='Pretrained', checkpoint='', prefix='backbone.')),
    head=dict(
        type='LinearClsHead',
        num_classes=1000,
        in_channels=768,
        loss=dict(type='CrossEntropyLoss', use_soft=True),  # targets are mixed and smoothed by timm
        init_cfg=dict(type='Constant', layer='Linear', val=0., bias=0.)),  # as the release's, so that the first loss is ln 1000
    train_cfg=dict(
        augments=[
            dict(type='nepa_mm.TimmMixup', mixup_alpha=0.8, cutmix_alpha=1.0, label_smoothing=0.1, num_classes=1000),
        ]))
