# Classifier of the release: bidirectional, mean of patch tokens, fc_norm, affine QK-norm, patch embedding frozen
model = dict(
    type='ImageClassifier',
    data_preprocessor=dict(mean=[127.5] * 3, std=[127.5] * 3, to_rgb=True, to_onehot=True, num_classes=1000),
    backbone=dict(
        type='nepa_mm.NEPAViT',
        img_size=224,
        patch_size=14,
        causal=False,
        out_type='avg_featmap',
        qk_norm='affine',  # pretraining has none; created as ones
        frozen_stages=0,  # the patch embedding alone
        # The state_dict of a pretraining checkpoint is the EMA's.
        init_cfg=dict(type='Pretrained', checkpoint='', prefix='backbone.')),
    head=dict(
        type='LinearClsHead',
        num_classes=1000,
        in_channels=768,
        loss=dict(type='LabelSmoothLoss', label_smooth_val=0.1, mode='original'),
        init_cfg=dict(type='TruncNormal', layer='Linear', std=0.02)),
    train_cfg=dict(augments=[dict(type='Mixup', alpha=0.8), dict(type='CutMix', alpha=1.0)]))
