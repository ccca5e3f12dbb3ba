#!/usr/bin/env bash
# A datasets map that only looks at an image compresses the JPEG again, at quality 75, and drops its file name
#
# Versions: datasets 5.2.0, Pillow 13.0.0, Python 3.11.
# Input: a data set that holds a JPEG of quality 100 as bytes, as those of a hub do, and a map that adds the image's width.
# Behaviour: an image that the function has looked at was decoded, and is encoded again with Pillow's defaults and without a name,
#   though the function does not return it. Nothing is said. A filter that looks at it and a map that does not keep the bytes,
#   and so do Image(decode=False) and data sets that hold paths.
# Seen: 7368 bytes before, 2226 after; the name 'a.jpg' is None.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q datasets==5.2.0 pillow==13.0.0 numpy==2.4.6
HF_HOME=$folder HF_HUB_OFFLINE=1 "$folder/venv/bin/python" -W ignore - <<'EOF'
import io

import numpy as np
from datasets import Dataset, Features, Image
from PIL import Image as Pillow


def jpeg(image, quality):
    content = io.BytesIO()
    image.save(content, 'JPEG', quality=quality)
    return content.getvalue()


def stored(rows):
    return rows.cast_column('image', Image(decode=False))[0]['image']


noise = np.random.default_rng(0).normal(128, 40, (64, 64, 3)).clip(0, 255).astype(np.uint8)
content = jpeg(Pillow.fromarray(noise), 100)
rows = Dataset.from_dict(dict(image=[dict(bytes=content, path='a.jpg')]), features=Features(image=Image()))
mapped, filtered = rows.map(lambda row: dict(width=row['image'].width)), rows.filter(lambda row: row['image'].width > 0)

print(len(stored(rows)['bytes']), stored(rows)['path'], '->', len(stored(mapped)['bytes']), stored(mapped)['path'])
assert stored(rows) == stored(filtered) == dict(bytes=content, path='a.jpg')
assert stored(mapped) == dict(bytes=jpeg(Pillow.open(io.BytesIO(content)), 75), path=None), 'the behaviour has changed'
EOF
