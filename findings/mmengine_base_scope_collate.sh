#!/usr/bin/env bash
# A config whose _base_ is another package's fails at its first batch if the base says how its loader collates
#
# Versions: onedl-mmengine 0.10.12, onedl-mmpretrain 1.3.6, torch 2.12.1, Python 3.11.
# Input: _base_ = 'mmpretrain::...', as mmengine documents it, of a config with collate_fn=dict(type='default_collate'), as most
#   self-supervised configs of mmpretrain have it.
# Behaviour: mmengine writes _scope_='mmpretrain' into each dict of such a base that has a type. Registries take it out again, but
#   Runner.build_dataloader hands what is left of collate_fn to the function as its arguments.
# Seen: TypeError: default_collate() got an unexpected keyword argument '_scope_'; without the key the batch comes.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q torch==2.12.1 torchvision==0.27.1 onedl-mmengine==0.10.12 onedl-mmcv==2.3.6 onedl-mmpretrain==1.3.6 \
    numpy==2.4.6 setuptools==81.0.0
cd "$folder"
"$folder/venv/bin/python" -W ignore - <<'EOF'
from pathlib import Path

from mmengine.config import Config
from mmengine.dataset import BaseDataset
from mmengine.registry import DATASETS
from mmengine.runner import Runner


@DATASETS.register_module()
class Numbers(BaseDataset):
    def load_data_list(self):
        return [dict(number=i) for i in range(4)]


Path('config.py').write_text("""
_base_ = 'mmpretrain::mae/mae_vit-base-p16_8xb512-amp-coslr-300e_in1k.py'
train_dataloader = dict(batch_size=2, num_workers=0, persistent_workers=False, dataset=dict(_delete_=True, type='Numbers'))
""")
loader = Config.fromfile('config.py').train_dataloader
said = None
try:
    next(iter(Runner.build_dataloader(loader, seed=0)))
except TypeError as error:
    said = str(error)
loader.collate_fn.pop('_scope_')
batch = next(iter(Runner.build_dataloader(loader, seed=0)))
print(f'{said}; without the key: {batch}')
assert said == "default_collate() got an unexpected keyword argument '_scope_'" and len(batch['number']) == 2, 'the behaviour has changed'
EOF
