#!/usr/bin/env bash
# mmpretrain's frozen ViT drops paths and units at random as it trains
#
# Versions: onedl-mmpretrain 1.3.6 (mmpretrain 1.2.0 does the same), torch 2.12.1, Python 3.11.
# Input: a ViT all of whose blocks are frozen (frozen_stages = num_layers), with stochastic depth and dropout, in training mode.
# Behaviour: frozen_stages sets blocks to evaluation mode as the model is built, and the train() with which each epoch begins sets
#   them back. So a linear probe of a backbone with drop_path_rate sees other features in each pass.
# Seen: 0 of 3 blocks in evaluation mode; two passes of one input differ; in evaluation mode they are equal.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q torch==2.12.1 torchvision==0.27.1 onedl-mmengine==0.10.12 onedl-mmcv==2.3.6 onedl-mmpretrain==1.3.6 \
    numpy==2.4.6 setuptools==81.0.0
"$folder/venv/bin/python" -W ignore - <<'EOF'
import torch
from mmpretrain.models import VisionTransformer

torch.manual_seed(0)
arch = dict(embed_dims=16, num_layers=3, num_heads=2, feedforward_channels=32)
model = VisionTransformer(arch, img_size=28, patch_size=7, frozen_stages=3, drop_path_rate=0.5, drop_rate=0.5)
images = torch.randn(4, 3, 28, 28)


def passes_agree():
    return torch.equal(model(images)[0], model(images)[0])


model.train()
frozen = sum(not layer.training for layer in model.layers)
found = frozen, passes_agree(), any(value.requires_grad for value in model.layers.parameters())
model.eval()
print(f'{frozen} of 3 blocks in evaluation mode, two passes equal: {found[1]}; in evaluation mode: {passes_agree()}')
assert found == (0, False, False) and passes_agree(), 'the behaviour has changed'
EOF
