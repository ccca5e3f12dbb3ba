# A bidirectional NEPA ViT under a head of the leaf's own, without auxiliary head; backbone and test as in nepa_upernet.py
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
        qk_norm='affine',
        init_cfg=dict(type='Pretrained', checkpoint='', prefix='backbone.')),
    train_cfg=dict(),
    test_cfg=dict(mode='slide', crop_size=(512, 512), stride=(341, 341)))
