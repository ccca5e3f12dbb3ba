# The same training from random weights: docs/evidence.md. What would handicap them is taken away: LayerScale starts at 0.1.
#
#   python tools/train.py configs/evidence/nepa_vit-micro-p8_upernet_1xb4-400i_camvid-224x224-scratch.py
#
# Hardware: 1 CPU core, about 10 minutes.
_base_ = './nepa_vit-micro-p8_upernet_1xb4-400i_camvid-224x224.py'

model = dict(backbone=dict(layer_scale_init_value=0.1, init_cfg=None))
