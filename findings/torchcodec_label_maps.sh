#!/usr/bin/env bash
# torchcodec's decode_png(mode='UNCHANGED') does not give a label map's numbers
#
# Versions: torchcodec 0.17.0, torch 2.14.1, Pillow 13.0.0, Python 3.11.
#   torchvision 0.29 names it in place of its own decoders.
# Input: label maps as PNG: 16 bits, with a palette, and grey with an EXIF orientation.
# Behaviour: "UNCHANGED" speaks of the channels alone. 16 bits are scaled to 8 (as documented; output_dtype='auto' keeps them),
#   numbers of a palette become its colours (no option keeps them), and the map is turned by EXIF (no option leaves that out).
# Seen: 0, 1, 256, 1000 become 0, 0, 1, 4; a palette map has 3 channels; a map of 16 x 24 becomes 24 x 16.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q torch==2.14.1 torchcodec==0.17.0 pillow==13.0.0 numpy==2.4.6
"$folder/venv/bin/python" -W ignore - <<'EOF'
import io

import numpy as np
from PIL import Image
from torchcodec.decoders import decode_png


def decoded(image, **kwargs):
    content = io.BytesIO()
    image.save(content, 'PNG', **kwargs)
    return decode_png(content.getvalue(), mode='UNCHANGED')


deep = decoded(Image.fromarray(np.array([[0, 1, 256, 1000]], np.uint16)))
palette = Image.fromarray(np.array([[0, 1, 2, 3]], np.uint8))
palette.putpalette([0, 0, 0, 128, 0, 0, 0, 128, 0, 128, 128, 0])
colours = decoded(palette)
orientation = Image.Exif()
orientation[0x0112] = 6
turned = decoded(Image.new('L', (24, 16)), exif=orientation)

print(deep.tolist(), tuple(colours.shape), tuple(turned.shape))
assert deep.tolist() == [[[0, 0, 1, 4]]], 'the behaviour has changed'
assert colours[:, 0].tolist() == [[0, 128, 0, 128], [0, 0, 128, 128], [0, 0, 0, 0]], 'the behaviour has changed'
assert turned.shape == (1, 24, 16), 'the behaviour has changed'
EOF
