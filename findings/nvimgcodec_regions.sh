#!/usr/bin/env bash
# nvImageCodec gives wrong colours to a narrow region of a JPEG, and decodes a region of a file that is cut off behind it
#
# Versions: nvidia-nvimgcodec-cu13 0.9.0.20 on the CPU, Pillow 13.0.0, Python 3.11.
# Input: a JPEG of 130 x 75 pixels with chroma at half resolution (4:2:0), whole, and cut off after three quarters of its bytes.
# Behaviour: libjpeg-turbo interpolates chroma between columns; where a region has but one of them, it takes what is not there.
#   Rows below a region are not read, so that nothing says that the file ends too early.
# Seen: the last column, decoded alone, differs from Pillow's; the last 64 columns do not. The upper rows of the file cut off
#   are decoded without a word; Pillow raises OSError.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q nvidia-nvimgcodec-cu13==0.9.0.20 pillow==13.0.0 numpy==2.4.6
"$folder/venv/bin/python" -W ignore - <<'EOF_PYTHON'
import io

import numpy as np
from nvidia import nvimgcodec
from PIL import Image

noise = np.random.default_rng(0).integers(0, 256, (75, 130, 3), dtype=np.uint8)
buffer = io.BytesIO()
Image.fromarray(noise).save(buffer, 'JPEG', subsampling='4:2:0')
whole = buffer.getvalue()
cut = whole[:len(whole) * 3 // 4]
expected = np.asarray(Image.open(io.BytesIO(whole))).astype(int)
decoder = nvimgcodec.Decoder(device_id=nvimgcodec.NVIMGCODEC_DEVICE_CPU_ONLY, backends=[nvimgcodec.Backend(nvimgcodec.CPU_ONLY)])


def region(content, top, left, bottom, right):
    part = nvimgcodec.CodeStream(content).get_sub_code_stream(region=nvimgcodec.Region(top, left, bottom, right))
    return np.asarray(decoder.decode(part)).astype(int)


narrow = abs(region(whole, 0, 129, 75, 130) - expected[:, 129:]).max()
wide = abs(region(whole, 0, 66, 75, 130) - expected[:, 66:]).max()
upper = abs(region(cut, 0, 0, 30, 130) - expected[:30]).max()
try:
    Image.open(io.BytesIO(cut)).load()
    said = None
except OSError as error:
    said = error
print('largest difference: last column', narrow, 'last 64', wide, 'upper rows of the file cut off', upper, '| Pillow:', said)
assert narrow > 0 and wide == 0 and upper == 0 and said, 'the behaviour has changed'
EOF_PYTHON
