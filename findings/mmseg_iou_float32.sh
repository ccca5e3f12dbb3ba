#!/usr/bin/env bash
# mmseg's IoUMetric counts pixels in float32, and loses those of large images
#
# Versions: onedl-mmsegmentation 1.4.2 (mmsegmentation 1.2.2 has the same lines), torch 2.13.0+cpu, Python 3.11.
# Input: one 6000 x 6000 label map and prediction of two classes; the true IoUs are 24/30 = 80.0 and 6/12 = 50.0 %.
# Behaviour: torch.histc adds ones in float32, where 2^24 + 1 = 2^24, so a class stops at 16,777,216 pixels in each thread.
#   So the score depends on the number of threads.
# Seen: 1 thread: IoU 100.00 and 50.00, mIoU 75.00; 2 threads: IoU 87.10 and 50.00, mIoU 68.55; truly 80.00 and 50.00, mIoU 65.00.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q torch==2.13.0+cpu onedl-mmengine==0.10.12 onedl-mmcv==2.3.6 onedl-mmsegmentation==1.4.2 \
    numpy==2.4.6 setuptools==81.0.0
"$folder/venv/bin/python" -W ignore - <<'EOF'
import torch
from mmseg.evaluation import IoUMetric

label, predicted = torch.zeros(2, 6000, 6000, dtype=torch.uint8)
label[:1000], predicted[:2000] = 1, 1


def ious(threads):
    torch.set_num_threads(threads)
    intersection, union, *_ = IoUMetric.intersect_and_union(predicted, label, num_classes=2, ignore_index=255)
    return [round(float(value), 2) for value in 100 * intersection / union]


found = {threads: ious(threads) for threads in (1, 2)}
true = [100 * int(((label == i) & (predicted == i)).sum()) / int(((label == i) | (predicted == i)).sum()) for i in (0, 1)]
print(found, 'true:', true)
assert found == {1: [100.0, 50.0], 2: [87.1, 50.0]} and true == [80.0, 50.0], 'the behaviour has changed'
EOF
