# Classifier on mmpretrain's ViT-B/16, for other pretraining methods under NEPA's recipe; head and mixing as in nepa_classifier.py
model = dict(
    type='ImageClassifier',
    data_preprocessor=dict(  # normalises what timm's transforms leave it, see datasets/imagenet_224_meanstd.py
        type='nepa_mm.TimmDataPreprocessor',
        timm_mean=[0.485, 0.456, 0.406],
        timm_std=[0.229, 0.224, 0.225],
        to_onehot=True,
        num_classes=1000),
    backbone=dict(
        type='mmpretrain.VisionTransformer',
        arch='base',
        img_size=224,
        patch_size=16,
        drop_path_rate=0.1,
        frozen_stages=-1,  # NEPA freezes the patch embedding, its target space; these methods' own fine-tuning trains all
        init_cfg=dict(type='Pretrained', checkpoint='', prefix='backbone.')),
    head=dict(
        type='LinearClsHead',
        num_classes=1000,
        in_channels=768,
        loss=dict(type='CrossEntropyLoss', use_soft=True),  # targets are mixed and smoothed by timm
        init_cfg=dict(type='Constant', layer='Linear', val=0., bias=0.)),  # MAE's and BEiT's own begin at 2e-5
    train_cfg=dict(
        augments=[
            dict(type='nepa_mm.TimmMixup', mixup_alpha=0.8, cutmix_alpha=1.0, label_smoothing=0.1, num_classes=1000),
        ]))
