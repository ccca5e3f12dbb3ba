#!/usr/bin/env bash
# mmseg's IoUMetric with one class counts every pixel as that class
#
# Versions: onedl-mmsegmentation 1.4.2 (mmsegmentation 1.2.2 has the same lines), torch 2.13.0+cpu, Python 3.11.
# Input: classes=('road', ), labels 1 for road and 0 for the rest, 20 % of the pixels road, and a prediction without any road.
# Behaviour: with one class it calls torch.histc(bins=1, min=0, max=0), for which torch takes the data's own range: all pixels
#   are in the one bin, and "IoU of road" is the share of right pixels over one plus the share of wrong ones.
# Seen: road IoU 66.67 for a prediction without road (truly 0), 81.82 for one that finds half of it (truly 50).
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q torch==2.13.0+cpu onedl-mmengine==0.10.12 onedl-mmcv==2.3.6 onedl-mmsegmentation==1.4.2 \
    numpy==2.4.6 setuptools==81.0.0
"$folder/venv/bin/python" -W ignore - <<'EOF'
import torch
from mmseg.evaluation import IoUMetric


def road(rows):
    """A map of 100 x 100 pixels whose first rows are road."""
    return (torch.arange(100) < rows)[:, None].expand(100, 100).long()


def reported(rows):
    metric = IoUMetric()
    metric.dataset_meta = dict(classes=('road', ))
    metric.process({}, [dict(pred_sem_seg=dict(data=road(rows)[None]), gt_sem_seg=dict(data=road(20)[None]))])
    return float(metric.compute_metrics(metric.results)['mIoU'])


found = {rows: round(reported(rows), 2) for rows in (0, 10, 20)}
print('rows of road predicted: IoU, where 20 are right:', found)
assert found == {0: 66.67, 10: 81.82, 20: 100.0}, 'the behaviour has changed: truly 0, 50 and 100'
EOF
