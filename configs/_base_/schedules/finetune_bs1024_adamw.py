# Fine-tuning on ImageNet-1k: batch 1024, bfloat16. Rate, epochs, warm-up and layer-wise decay are the leaf's.
optim_wrapper = dict(
    type='nepa_mm.Bf16OptimWrapper',
    optimizer=dict(type='AdamW', betas=(0.9, 0.999), weight_decay=0.05, fused=True),
    clip_grad=dict(max_norm=1.0),
    constructor='nepa_mm.LayerDecayOptimWrapperConstructor',
    paramwise_cfg=dict(head_lr=1e-3))  # as it is, not scaled with the batch

param_scheduler = dict(type='nepa_mm.LayerDecayCosineLR', by_epoch=True, convert_to_iter_based=True)
# An iteration is an optimizer step over 1024 images, whatever the number of GPUs; the last of an epoch takes what whole batches are
# left, as the release's does.
train_cfg = dict(type='nepa_mm.AccumulatingEpochLoop', val_interval=1, take_rest=True)
auto_scale_lr = dict(base_batch_size=1024)
val_cfg = dict()
test_cfg = dict()

# Validation reports both: accuracy/* of the EMA, accuracy/*_origin of the raw weights.
custom_hooks = [
    dict(
        type='EMAHook',
        ema_type='nepa_mm.ForeachEMA',
        momentum=1 - 0.9999,
        evaluate_on_origin=True,
        priority='ABOVE_NORMAL')
]
