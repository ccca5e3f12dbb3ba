# Another method's ViT-L/16, fine-tuned on ImageNet-1k as classification/nepa_vit-large-p14_8xb128-coslr-50e_in1k.py does it.
# Backbone, weights and data set, which normalises as the method did, are the leaf's.
_base_ = [
    '../models/vit_classifier.py',
    '../schedules/finetune_bs1024_adamw.py',
    '../default_runtime.py',
]

model = dict(backbone=dict(arch='large', drop_path_rate=0.2), head=dict(in_channels=1024))

# 8 GPUs x 128 images = 1024
optim_wrapper = dict(optimizer=dict(lr=1e-3 * 1024 / 256))
param_scheduler = dict(decay=0.75, warmup=15, layerwise_warmup=True, end=50)
train_cfg = dict(max_epochs=50)
default_hooks = dict(checkpoint=dict(save_best='accuracy/top1'))  # of the average, as the release keeps it
