# MAE of NEPA's ViT, with NEPA's pixel scale; mask, decoder and loss are MAE's as mmpretrain has them
model = dict(
    type='MAE',
    data_preprocessor=dict(type='SelfSupDataPreprocessor', mean=[127.5] * 3, std=[127.5] * 3, to_rgb=True),
    backbone=dict(type='nepa_mm.MAENEPAViT', img_size=224, mask_ratio=0.75),
    neck=dict(
        type='MAEPretrainDecoder',
        decoder_embed_dim=512,
        decoder_depth=8,
        decoder_num_heads=16,
        init_cfg=dict(type='Xavier', layer='Linear', distribution='uniform')),  # the encoder brings its own
    head=dict(type='MAEPretrainHead', norm_pix=True, loss=dict(type='PixelReconstructionLoss', criterion='L2')))
