import runpy
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import MODELS, DefaultScope, init_default_scope

from nepa_mm.analysis.runs.experiment import configured, trainings_of
from nepa_mm.launch.config_parts import value_at
from tiny import ROOT

TOOL = runpy.run_path(str(ROOT / 'tools/analysis_tools/run_ablations.py'))
ROWS = TOOL['rows'](Path('data'))


@pytest.mark.parametrize('training', trainings_of(ROWS), ids=lambda training: training.name)
def test_the_change_of_the_large_config_lands_on_the_small_one(training, tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)
    cfg, change = Config.fromfile(configured(training, tmp_path)), training.change
    assert (cfg.model == Config.fromfile(f'configs/{training.config}').model) == (change is None)
    init_default_scope('mmpretrain')
    cfg.model.backbone.init_cfg = None
    try:
        with torch.device('meta'):
            model = MODELS.build(cfg.model)
    finally:
        DefaultScope._instance_dict.clear()
    assert model.backbone.embed_dims == 128
    if change is not None:
        large = runpy.run_path(str(ROOT / 'configs' / change))['model']
        for part, values in large.items():
            if isinstance(values, dict):
                assert values.items() <= dict(value_at(cfg, f'model.{part}')).items()
            else:
                assert cfg.model[part] == values


def test_curves_of_every_run_are_drawn():
    curve = [dict(step=step, loss=-step / 10, collapse=step / 20) for step in (1, 5, 10)]
    names = {row.name: training.name for row in ROWS for training, _ in row.cells.values()}
    figure = TOOL['draw'](ROWS, [dict(training=name, seed=TOOL['SEED'], curve=curve) for name in names.values()])
    drawn = [line.get_label() for axes in figure.axes for line in axes.lines]
    assert set(drawn) == {row.name for row in ROWS if 'loss' in row.cells} and len(set(drawn)) == 10
    assert drawn.count('1a: all three') == 6 and drawn.count('1a: no shift') == 2  # the recipe in every column; loss and collapse


def test_trainings_are_of_the_data_that_is_named_and_begin_from_the_recipe():
    trainings = {training.name: training for training in trainings_of(ROWS)}
    assert len(trainings) == 13
    for name in ('frozen', 'unfrozen', 'causal'):
        assert trainings[name].start is trainings['NEPA'] and 'val_dataloader.dataset.data_root=data' in trainings[name].options
    assert all('train_dataloader.dataset.data_root=data' in training.options for training in trainings.values())
