# The same training from random weights: docs/evidence.md. What would handicap them is taken away: the patch embedding is trained,
# LayerScale starts at 0.1, and all layers have the same lr.
#
#   python tools/train.py configs/evidence/nepa_vit-micro-p4_1xb64-coslr-3e_cifar10-32px-scratch.py
#
# Hardware: 1 CPU core, about 10 minutes.
_base_ = './nepa_vit-micro-p4_1xb64-coslr-3e_cifar10-32px.py'

model = dict(backbone=dict(frozen_stages=-1, layer_scale_init_value=0.1, init_cfg=None))
param_scheduler = dict(decay=1.0)
