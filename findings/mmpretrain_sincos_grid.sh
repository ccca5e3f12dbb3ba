#!/usr/bin/env bash
# mmpretrain's sine-cosine position embedding goes column by column, and patches go row by row: a grid that is no square is shuffled
#
# Versions: onedl-mmpretrain 1.3.6 (mmpretrain 1.2.0 does the same), torch 2.12.1, Python 3.11.
# Input: build_2d_sincos_position_embedding for a square grid and for one of 2 rows and 4 columns, as MAE and CAE build it.
# Behaviour: the table is made by a meshgrid of columns and rows, and flattened with columns outside. On a square that only exchanges
#   the two axes. On another grid, patches that lie beside each other get positions that do not.
# Seen: on 4 x 4 the embeddings of a patch and its right neighbour have a product of 7.535 everywhere. On 2 x 4 it is 7.535, 7.071 and
#   7.535 along a row: the middle two lie in different rows and columns of the table.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q torch==2.12.1 torchvision==0.27.1 onedl-mmengine==0.10.12 onedl-mmcv==2.3.6 onedl-mmpretrain==1.3.6 \
    numpy==2.4.6 setuptools==81.0.0
"$folder/venv/bin/python" -W ignore - <<'EOF'
import torch
from mmpretrain.models.utils import build_2d_sincos_position_embedding

WIDTH = 16


def neighbours_alike(rows, columns):
    """Products of the embeddings of each patch and its right neighbour, [rows, columns - 1]."""
    table = build_2d_sincos_position_embedding((rows, columns), WIDTH)[0].unflatten(0, (rows, columns))
    return (table[:, 1:] * table[:, :-1]).sum(2)


square, wide = neighbours_alike(4, 4), neighbours_alike(2, 4)
print('right neighbours alike, 4 x 4:', square.flatten().tolist())
print('right neighbours alike, 2 x 4:', wide.flatten().tolist())
assert torch.allclose(square, square[0, 0].expand_as(square), atol=1e-5)
assert not torch.allclose(wide, wide[0, 0].expand_as(wide), atol=1e-1), 'the behaviour has changed'
# Row by row it would be the table of the turned grid
turned = build_2d_sincos_position_embedding((4, 2), WIDTH)[0].unflatten(0, (2, 4))
assert torch.allclose((turned[:, 1:] * turned[:, :-1]).sum(2), square[0, 0].expand(2, 3), atol=1e-5)
EOF
