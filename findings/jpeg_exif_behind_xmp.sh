#!/usr/bin/env bash
# torchvision and torchcodec overlook a photograph's orientation where an XMP segment comes before EXIF
#
# Versions: torchvision 0.29.1, torchcodec 0.17.0, torch 2.14.1, OpenCV 5.0.0.93, Pillow 13.0.0, Python 3.11.
# Input: a JPEG of 24 x 16 pixels with orientation 6 (to be turned by 90 degrees), once with EXIF alone, once with an XMP segment,
#   which is an APP1 segment too, before it. Both orders are valid.
# Behaviour: both decoders look into the first APP1 segment alone. Pillow and OpenCV turn the picture in both cases.
# Seen: height x width with EXIF alone 24 x 16 by all; behind XMP 16 x 24 by torchvision and torchcodec, 24 x 16 by the others.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q torch==2.14.1 torchvision==0.29.1 torchcodec==0.17.0 opencv-python==5.0.0.93 \
    pillow==13.0.0 numpy==2.4.6
"$folder/venv/bin/python" -W ignore - <<'EOF'
import io

import cv2
import numpy as np
import torch
from PIL import Image, ImageOps
from torchcodec.decoders import decode_image
from torchvision.io import decode_jpeg

orientation = Image.Exif()
orientation[0x0112] = 6
content = io.BytesIO()
Image.new('RGB', (24, 16)).save(content, 'JPEG', exif=orientation)
exif_alone = content.getvalue()
xmp = b'http://ns.adobe.com/xap/1.0/\0<x:xmpmeta xmlns:x="adobe:ns:meta/"/>'
behind_xmp = exif_alone[:2] + b'\xff\xe1' + (len(xmp) + 2).to_bytes(2, 'big') + xmp + exif_alone[2:]


def sizes(jpeg):
    """Height and width by each decoder."""
    tensor = torch.frombuffer(bytearray(jpeg), dtype=torch.uint8)
    return dict(torchvision=tuple(decode_jpeg(tensor, apply_exif_orientation=True).shape[1:]),
                torchcodec=tuple(decode_image(jpeg).shape[1:]),
                opencv=cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR).shape[:2],
                pillow=ImageOps.exif_transpose(Image.open(io.BytesIO(jpeg))).size[::-1])


print('EXIF alone:', sizes(exif_alone))
print('behind XMP:', sizes(behind_xmp))
turned, as_stored = (24, 16), (16, 24)
assert set(sizes(exif_alone).values()) == {turned}, 'the behaviour has changed'
expected = dict(torchvision=as_stored, torchcodec=as_stored, opencv=turned, pillow=turned)
assert sizes(behind_xmp) == expected, 'the behaviour has changed'
EOF
