# NEPA, the released variant: causal, [CLS], GELU, no absolute position embedding
model = dict(
    type='nepa_mm.NEPA',
    data_preprocessor=dict(type='nepa_mm.FusedSelfSupDataPreprocessor', mean=[127.5] * 3, std=[127.5] * 3, to_rgb=True),
    backbone=dict(type='nepa_mm.NEPAViT', img_size=224, patch_size=14),
    head=dict(type='nepa_mm.NextEmbeddingLoss', distance='cosine'))
