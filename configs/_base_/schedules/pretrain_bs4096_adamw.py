# Pretraining, as the paper (section 4.1) and the release do it: batch 4096, bfloat16, cosine to zero after a linear warm-up.
# The number of epochs and the length of the warm-up are the leaf's: 2.5 % of them in the release, 40 epochs in the paper.
optim_wrapper = dict(
    type='nepa_mm.Bf16OptimWrapper',
    optimizer=dict(type='AdamW', lr=3e-4 * 4096 / 256, betas=(0.9, 0.95), weight_decay=0.05, fused=True),
    clip_grad=dict(max_norm=1.0),
    constructor='nepa_mm.LayerDecayOptimWrapperConstructor',  # for its rule of weight decay: none on 1-D parameters
    paramwise_cfg=dict(layer_decay_rate=1.0))

param_scheduler = dict(type='nepa_mm.LayerDecayCosineLR', decay=1.0, by_epoch=True, convert_to_iter_based=True)
# An iteration is an optimizer step over 4096 images, whatever the number of GPUs; the last of an epoch takes what whole batches are
# left, as the release's does.
train_cfg = dict(type='nepa_mm.AccumulatingEpochLoop', take_rest=True)
auto_scale_lr = dict(base_batch_size=4096)

custom_hooks = [dict(type='EMAHook', ema_type='nepa_mm.ForeachEMA', momentum=1 - 0.9999, priority='ABOVE_NORMAL')]
