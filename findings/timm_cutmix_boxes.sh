#!/usr/bin/env bash
# timm's CutMix of one seed gives other boxes and other label weights since 1.0.29
#
# Versions: timm 1.0.28 and 1.0.31, torch 2.13.0+cpu, Python 3.11.
# Input: Mixup(mixup_alpha=0, cutmix_alpha=1.0) on a batch of two 32 x 32 images, NumPy seeded with 0.
# Behaviour: an odd box of n pixels was n - 1 pixels wide and high before, and is n since (rand_bbox rounds its second half up).
#   The random numbers drawn are the same, so nothing else shows it: a fine-tuning that is repeated "bit for bit" from one seed is
#   another one after the upgrade.
# Seen: weight of the first label in the first image 0.5734 with 1.0.28 and 0.5374 with 1.0.31.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q torch==2.13.0+cpu numpy==2.4.6
for version in 1.0.28 1.0.31; do
    "$folder/venv/bin/pip" install -q --no-deps --target "$folder/$version" timm==$version
    # Its module alone: all of timm needs torchvision
    cp "$folder/$version/timm/data/mixup.py" "$folder/mixup_${version//./_}.py"
done
cd "$folder"
"$folder/venv/bin/python" -W ignore - <<'EOF'
from importlib import import_module

import numpy as np
import torch


def weight(version):
    np.random.seed(0)
    mixup = import_module(f'mixup_{version}').Mixup(mixup_alpha=0, cutmix_alpha=1.0, num_classes=4)
    _, labels = mixup(torch.rand(2, 3, 32, 32), torch.tensor([0, 1]))
    return round(float(labels[0, 0]), 4)


found = {version: weight(version) for version in ('1_0_28', '1_0_31')}
print('weight of the first label:', found)
assert found == {'1_0_28': 0.5734, '1_0_31': 0.5374}, 'the behaviour has changed'
EOF
