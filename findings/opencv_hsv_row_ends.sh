#!/usr/bin/env bash
# OpenCV's HSV to BGR gives one colour two values, by the column that it stands in
#
# Versions: opencv-python-headless 5.0.0.93 and 4.11.0.86 (x86-64, AVX2), numpy 2.4.6, Python 3.11.
# Input: an image of uint8 and random colours, 391 pixels wide.
# Behaviour: the last pixels of a row, those that do not fill a vector of 32, are converted by other code, which rounds otherwise.
#   So to convert and to mirror do not commute, a crop of a converted image is not the converted crop, and an augmentation
#   that works in HSV depends on where a pixel is. BGR to HSV has one rounding.
# Seen: in the 7 columns at either side some values differ by 1 between the mirrored conversion and the conversion of the mirrored
#   image; at a width of 512 none does.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
for version in 4.11.0.86 5.0.0.93; do
    "$folder/venv/bin/pip" install -q "opencv-python-headless==$version" numpy==2.4.6
    "$folder/venv/bin/python" - <<'EOF'
import cv2
import numpy as np


def differing(width, code):
    """Columns in which the order of mirroring and conversion matters, and the largest difference."""
    image = np.random.default_rng(0).integers(0, 180, (293, width, 3), np.uint8)
    first, second = cv2.flip(cv2.cvtColor(image, code), 1), cv2.cvtColor(cv2.flip(image, 1), code)
    off = np.abs(first.astype(int) - second).max(axis=(0, 2))
    return np.flatnonzero(off).tolist(), int(off.max())


found = differing(391, cv2.COLOR_HSV2BGR)
print(cv2.__version__, 'columns of 391 that differ, and by how much:', found)
assert found == ([*range(7), *range(384, 391)], 1), 'the behaviour has changed: truly none'
assert differing(512, cv2.COLOR_HSV2BGR) == differing(391, cv2.COLOR_BGR2HSV) == ([], 0)
EOF
done
