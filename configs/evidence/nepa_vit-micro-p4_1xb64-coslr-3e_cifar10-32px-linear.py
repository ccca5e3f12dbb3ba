# Linear probing of the small ViT of docs/evidence.md on CIFAR-10: the frozen backbone as pretrained, causal; mean of the patch
# tokens; no weight decay.
#
#   python tools/train.py configs/evidence/nepa_vit-micro-p4_1xb64-coslr-3e_cifar10-32px-linear.py
#
# Hardware: 1 CPU core, about 5 minutes.
_base_ = './nepa_vit-micro-p4_1xb64-coslr-3e_cifar10-32px.py'

model = dict(backbone=dict(causal=True, frozen_stages=4))  # all blocks and the final norm
optim_wrapper = dict(optimizer=dict(weight_decay=0.))
