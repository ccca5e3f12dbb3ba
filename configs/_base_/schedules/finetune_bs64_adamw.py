# Fine-tuning of a small model in a few epochs of 64 images, without layer-wise decay
optim_wrapper = dict(
    optimizer=dict(type='AdamW', lr=2e-3, betas=(0.9, 0.999), weight_decay=0.05),
    clip_grad=dict(max_norm=1.0),
    constructor='nepa_mm.LayerDecayOptimWrapperConstructor')
param_scheduler = dict(
    type='nepa_mm.LayerDecayCosineLR', decay=1.0, warmup=1, end=3, by_epoch=True, convert_to_iter_based=True)
train_cfg = dict(type='nepa_mm.AccumulatingEpochLoop', max_epochs=3, val_interval=1)
auto_scale_lr = dict(base_batch_size=64)
val_cfg = dict()
test_cfg = dict()
