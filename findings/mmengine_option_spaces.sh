#!/usr/bin/env bash
# mmengine's --cfg-options remove every space inside a text, quoted or not: a path and a class become others
#
# Versions: onedl-mmengine 0.10.12 (mmengine 0.10.7 does the same), Python 3.11.
# Input: options whose values have spaces, each one argument of the command, as a shell passes a quoted one.
# Behaviour: DictAction strips quotes at the ends and then removes all spaces of the value, not those around commas alone. Nothing is
#   said. Config.merge_from_dict with the same texts keeps them.
# Seen: 'data/my photos' becomes 'data/myphotos', ['traffic light', 'car'] becomes ['trafficlight', 'car'].
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q onedl-mmengine==0.10.12 opencv-python-headless==5.0.0.93 numpy==2.4.6 setuptools==81.0.0
cd "$folder"
"$folder/venv/bin/python" -W ignore - <<'EOF'
import argparse

from mmengine.config import Config, DictAction

parser = argparse.ArgumentParser()
parser.add_argument('--cfg-options', nargs='+', action=DictAction)
options = parser.parse_args(['--cfg-options', 'data_root=data/my photos', 'quoted="data/my photos"',
                             'classes=[traffic light, car]']).cfg_options
print(options)
cfg = Config(dict(data_root=''))
cfg.merge_from_dict(dict(data_root='data/my photos'))
assert cfg.data_root == 'data/my photos'
assert options == dict(data_root='data/myphotos', quoted='data/myphotos', classes=['trafficlight', 'car']), \
    'the behaviour has changed'
EOF
