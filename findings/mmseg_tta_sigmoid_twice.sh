#!/usr/bin/env bash
# mmseg's SegTTAModel takes the sigmoid of a one-channel segmentor twice
#
# Versions: onedl-mmsegmentation 1.4.2 (mmsegmentation 1.2.2 has the same lines), torch 2.13.0+cpu, Python 3.11.
# Input: a segmentor of two classes with out_channels=1 and the default threshold 0.3, which is sure that no pixel is foreground.
# Behaviour: EncoderDecoder.postprocess_result stores the sigmoid as seg_logits, and SegTTAModel.merge_preds takes the
#   sigmoid of that: sigmoid(0) = 0.5 is above 0.3, so every pixel becomes foreground. `test.py --tta` reports that and exits 0.
# Seen: without test-time augmentation 0 % of the pixels are foreground, with one unchanged view of each image 100 %.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q torch==2.13.0+cpu onedl-mmengine==0.10.12 onedl-mmcv==2.3.6 onedl-mmsegmentation==1.4.2 \
    numpy==2.4.6 setuptools==81.0.0
"$folder/venv/bin/python" -W ignore - <<'EOF'
import torch
from mmengine import ConfigDict
from mmseg.models import EncoderDecoder, SegTTAModel
from mmseg.structures import SegDataSample
from torch import nn

head = dict(type='FCNHead', in_channels=64, in_index=0, channels=64, num_convs=0, concat_input=False, num_classes=2,
            out_channels=1)
backbone = dict(type='ResNetV1c', depth=18, norm_cfg=dict(type='BN'), num_stages=1, strides=(1, ), dilations=(1, ),
                out_indices=(0, ), init_cfg=None)
model = EncoderDecoder(backbone, decode_head=head, test_cfg=ConfigDict(mode='whole')).eval()
nn.init.zeros_(model.decode_head.conv_seg.weight)
nn.init.constant_(model.decode_head.conv_seg.bias, -8.)  # foreground: sigmoid(-8) = 0.0003

sample = SegDataSample(metainfo=dict(img_path='a.png', ori_shape=(32, 32), img_shape=(32, 32), pad_shape=(32, 32)))
view, = model.predict(torch.rand(1, 3, 32, 32), [sample])
shares = [float(view.pred_sem_seg.data.float().mean())]
merged, = SegTTAModel(module=model).merge_preds([[view]])  # into the same sample
shares.append(float(merged.pred_sem_seg.data.float().mean()))
print('share of foreground without and with TTA of one view:', shares, 'threshold', model.decode_head.threshold)
assert shares == [0.0, 1.0], 'the behaviour has changed'
EOF
