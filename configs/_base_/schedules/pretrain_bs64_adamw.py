# 64 images and a few epochs of a small model: NEPA's optimizer at a higher lr than 3e-4 * 64 / 256, and no EMA
optim_wrapper = dict(
    optimizer=dict(type='AdamW', lr=2e-3, betas=(0.9, 0.95), weight_decay=0.05),
    clip_grad=dict(max_norm=1.0),
    constructor='nepa_mm.LayerDecayOptimWrapperConstructor',
    paramwise_cfg=dict(layer_decay_rate=1.0))
param_scheduler = dict(
    type='nepa_mm.LayerDecayCosineLR', decay=1.0, warmup=0.5, end=8, by_epoch=True, convert_to_iter_based=True)
train_cfg = dict(type='nepa_mm.AccumulatingEpochLoop', max_epochs=8)
auto_scale_lr = dict(base_batch_size=64)
