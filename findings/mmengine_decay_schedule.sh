#!/usr/bin/env bash
# mmengine's CosineAnnealingParamScheduler for weight decay gives decay to the groups that have none
#
# Versions: onedl-mmengine 0.10.12 (mmengine 0.10.7 does the same), torch 2.13.0+cpu, Python 3.11.
# Input: the weight-decay schedule of DINO and iBOT, 0.04 -> 0.4 by a cosine, for an optimizer whose biases and norms have decay 0.
#   There the groups without decay stay at 0.
# Behaviour: every group goes from its own value to the one eta_min, those at 0 too. (eta_min_ratio=10 keeps them at 0.)
# Seen: weights 0.04 -> 0.4, biases 0.0 -> 0.4; with eta_min_ratio=10: 0.04 -> 0.4 and 0.0 -> 0.0.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q torch==2.13.0+cpu onedl-mmengine==0.10.12 numpy==2.4.6 setuptools==81.0.0
"$folder/venv/bin/python" -W ignore - <<'EOF'
import torch
from mmengine.optim import CosineAnnealingParamScheduler


def last_decays(**end):
    layer = torch.nn.Linear(2, 2)
    groups = [dict(params=[layer.weight], weight_decay=0.04), dict(params=[layer.bias], weight_decay=0.)]
    optimizer = torch.optim.AdamW(groups)
    schedule = CosineAnnealingParamScheduler(optimizer, 'weight_decay', T_max=10, **end)
    for _ in range(10):
        optimizer.step()
        schedule.step()
    return [round(group['weight_decay'], 6) for group in optimizer.param_groups]


found = last_decays(eta_min=0.4), last_decays(eta_min_ratio=10)
print('last decay of weights and biases, eta_min=0.4 and eta_min_ratio=10:', *found)
assert found == ([0.4, 0.4], [0.4, 0.0]), 'the behaviour has changed'
EOF
