#!/usr/bin/env bash
# A lossless PNG optimizer renumbers palettes, which changes label maps
#
# Versions: pyoxipng 9.1.1, Pillow 13.0.0, Python 3.11.
# Input: a palette PNG as segmentation data sets have them, classes 0, 3 and 15 and the ignored 255.
# Behaviour: with the default options unused colours are dropped and the rest put in another order, and the pixels get other
#   numbers. Every colour stays as it was, so comparisons of pictures see no difference; a loader of labels reads other numbers.
# Seen: 0, 3, 15, 255 became 3, 0, 2, 1; colours equal.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q pyoxipng==9.1.1 pillow==13.0.0 numpy==2.4.6
"$folder/venv/bin/python" - <<'EOF'
import io

import numpy as np
import oxipng
from PIL import Image

labels = np.repeat(np.array([0, 3, 15, 255], np.uint8), 16)[:, None].repeat(64, axis=1)
image = Image.fromarray(labels)
image.putpalette(np.random.default_rng(0).integers(0, 255, 768, dtype=np.uint8).tobytes())
before = io.BytesIO()
image.save(before, 'PNG')
after = Image.open(io.BytesIO(oxipng.optimize_from_memory(before.getvalue())))

numbers = np.asarray(after)[::16, 0].tolist()
same_colours = np.array_equal(np.asarray(after.convert('RGB')), np.asarray(image.convert('RGB')))
print('0, 3, 15, 255 are now', numbers, 'colours equal:', same_colours)
assert numbers == [3, 0, 2, 1] and same_colours, 'the behaviour has changed'
EOF
