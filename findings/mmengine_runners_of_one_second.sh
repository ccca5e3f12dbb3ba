#!/usr/bin/env bash
# mmengine: a Runner that begins in the second of an earlier one of its name writes no log, and may build its model in another scope
#
# Versions: onedl-mmengine 0.10.12, torch 2.13.0+cpu, Python 3.11.
# Input: three Runners of one process, a small model each, own work_dir each: 'first' of scope alpha, 'second' of scope beta, and again
# 'first' of scope alpha, within one second.
# Behaviour: a Runner is named by its experiment (or config file) and the second. Loggers and default scopes are kept by that name, so
# the third gets the logger of the first, and the current scope stays that of the second.
# Seen: the third work_dir has no log file, its lines stand in the first's; its model, registered in alpha alone, is not found in beta.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q torch==2.13.0+cpu onedl-mmengine==0.10.12 opencv-python-headless==5.0.0.93 numpy==2.4.6 \
    setuptools==81.0.0
cd "$folder"
"$folder/venv/bin/python" -W ignore - > said.txt 2>&1 <<'P' || true
import os
import time

from mmengine.model import BaseModel
from mmengine.registry import MODELS, Registry
from mmengine.runner import Runner

for name in ('alpha', 'beta'):
    registry = Registry('model', parent=MODELS, scope=name)

    @registry.register_module(name=f'Of{name}')
    class Model(BaseModel):
        def forward(self, *args, **kwargs):
            pass


def start(scope, experiment, folder):
    return Runner(model=dict(type=f'Of{scope}'), work_dir=folder, default_scope=scope, experiment_name=experiment)


start('alpha', 'warm-up', 'warm-up')  # what takes longer once
time.sleep(1 - time.time() % 1 + 0.01)  # until a second has just begun
start('alpha', 'first', 'one')
start('beta', 'second', 'two')
try:
    start('alpha', 'first', 'three')
except KeyError as error:
    print('ERROR', str(error).split('.')[0][:80])
for name in ('one', 'two', 'three'):
    print('LOGS', name, sum(file.endswith('.log') for _, _, files in os.walk(name) for file in files))
P
grep -E '^(ERROR|LOGS)' said.txt
[ "$(grep -E '^(ERROR|LOGS)' said.txt)" = "ERROR 'Ofalpha is not in the beta::model registry
LOGS one 1
LOGS two 1
LOGS three 0" ] || { echo 'the behaviour has changed'; tail -20 said.txt; exit 1; }
