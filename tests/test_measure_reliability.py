"""What tools/analysis_tools/measure_reliability.py measures, on the demo's model; its figures decide nothing here."""
import json

import forks
import pytest
from mmengine.config import Config
from mmengine.registry import MODELS

import nepa_mm  # noqa: F401, which registers its models
from tiny import ROOT

TOOL = ROOT / 'tools/analysis_tools/measure_reliability.py'
CONFIG = ROOT / 'configs/pretrain/nepa_vit-mini-p8_1xb64-coslr-18e_shapes-48px.py'


def test_ratios_of_steps_and_saves(tmp_path):
    done = forks.done(TOOL, CONFIG, '--batch-size', '2', '--steps', '2', '--repeats', '3', '--folder', tmp_path, '--json',
                      tmp_path / 'cost.json', timeout=600)
    assert done.returncode == 0, done.stderr
    figures = json.loads((tmp_path / 'cost.json').read_text())
    assert [len(figures[name]['pairs']) for name in ('step', 'save', 'standstill', 'step_beside_save')] == [3] * 4
    assert figures['saved_bytes'] > figures['checkpoint_bytes'] and min(figures['standstill']['pairs']) > 0
    assert 0 < figures['inside_guarantees_s'] < figures['step_s'] and 0 < figures['seed_of_an_image_s'] < 1
    assert f'a checkpoint has {figures["checkpoint_bytes"] / 1e6:.0f} MB' in done.stdout
    model = MODELS.build({**Config.fromfile(CONFIG).model, '_scope_': 'mmpretrain'})
    weights = sum(value.nbytes for value in model.state_dict().values())
    moments = sum(2 * value.nbytes + 4 for value in model.parameters() if value.requires_grad)  # and AdamW's count of steps
    assert figures['checkpoint_bytes'] == pytest.approx(weights + moments, abs=64)


