#!/usr/bin/env bash
# mmengine's DeepSpeedStrategy cannot be built with DeepSpeed 0.19.7 or later
#
# Versions: onedl-mmengine 0.10.12, deepspeed 0.19.8 and 0.19.6, torch 2.13.0+cpu, Python 3.11.
# Input: DeepSpeedStrategy of any config, whatever its optimizer.
# Behaviour: it registers all optimizers of DeepSpeed, and looks for the 1-bit ones in a module that 0.19.7 removed.
# Seen: ModuleNotFoundError: No module named 'deepspeed.runtime.fp16.onebit'; with 0.19.6 it is built.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q torch==2.13.0+cpu onedl-mmengine==0.10.12 opencv-python-headless==5.0.0.93 \
    numpy==2.4.6 setuptools==81.0.0
for version in 0.19.8 0.19.6; do
    "$folder/venv/bin/pip" install -q --no-build-isolation deepspeed==$version  # sources alone, which need torch to build
    said=$("$folder/venv/bin/python" -W ignore -c "
from mmengine._strategy import DeepSpeedStrategy
DeepSpeedStrategy(config=dict(train_micro_batch_size_per_gpu=1))
print('built')" 2>&1 | tail -1)
    echo "deepspeed $version: $said"
    case $version in
        0.19.8) [ "$said" = "ModuleNotFoundError: No module named 'deepspeed.runtime.fp16.onebit'" ] ;;
        *) [ "$said" = built ] ;;
    esac || { echo 'the behaviour has changed'; exit 1; }
done
