#!/usr/bin/env bash
# mmengine's resume takes the learning-rate schedule of the checkpoint, whatever the config says by then
#
# Versions: onedl-mmengine 0.10.12 (mmengine 0.10.7 does the same), torch 2.13.0+cpu, Python 3.11.
# Input: a training of 4 epochs with a cosine of 4 epochs, resumed with both set to 8, as one does to train longer.
# Behaviour: Runner.resume loads the state of the schedules, and their end is in it. The old cosine is over, and nothing moves the
#   rate.
# Seen: rates of the epochs 5 to 8 stay at 0.0146, that of the fourth; a training that had 8 epochs from the beginning has 0.05,
#   0.0309, 0.0146 and 0.0038 there.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q torch==2.13.0+cpu onedl-mmengine==0.10.12 opencv-python-headless==5.0.0.93 \
    numpy==2.4.6 setuptools==81.0.0
cd "$folder"
"$folder/venv/bin/python" -W ignore - <<'EOF'
import torch
from mmengine.hooks import Hook
from mmengine.model import BaseModel
from mmengine.runner import Runner


class Model(BaseModel):
    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(1))

    def forward(self, inputs, mode='loss'):
        return dict(loss=(self.weight * inputs).sum())


class Rates(Hook):
    def __init__(self):
        self.seen = []

    def before_train_epoch(self, runner):
        self.seen.append(round(runner.optim_wrapper.param_groups[0]['lr'], 4))


def rates(work_dir, epochs, resume=False):
    hook = Rates()
    Runner(Model(), work_dir, train_dataloader=dict(
        dataset=[dict(inputs=torch.ones(1))] * 4, batch_size=2, sampler=dict(type='DefaultSampler', shuffle=False),
        collate_fn=dict(type='default_collate')),
        train_cfg=dict(by_epoch=True, max_epochs=epochs), optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.1)),
        param_scheduler=dict(type='CosineAnnealingLR', T_max=epochs, by_epoch=True), custom_hooks=[hook], resume=resume,
        default_hooks=dict(logger=None), log_level='ERROR', experiment_name=f'{work_dir}{epochs}').train()
    return hook.seen[-4:]


rates('short', 4)
resumed, whole = rates('short', 8, resume=True), rates('long', 8)
print('rates of epochs 5 to 8, resumed:', resumed, 'from the beginning:', whole)
assert resumed == [0.0146] * 4 and whole == [0.05, 0.0309, 0.0146, 0.0038], 'the behaviour has changed'
EOF
