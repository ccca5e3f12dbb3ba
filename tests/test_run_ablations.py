import runpy

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import MODELS, DefaultScope, init_default_scope

from nepa_mm.launch.config_parts import value_at
from tiny import ROOT

TOOL = runpy.run_path(str(ROOT / 'tools/analysis_tools/run_ablations.py'))
PRETRAININGS = [(TOOL['PRETRAIN'], *entry) for entry in TOOL['PRETRAININGS']]
FINETUNINGS = [(TOOL['FINETUNE'], *entry) for entry in TOOL['FINETUNINGS']]


@pytest.mark.parametrize('base, table, name, change', PRETRAININGS + FINETUNINGS, ids=lambda value: str(value)[-20:])
def test_the_change_of_the_large_config_lands_on_the_small_one(base, table, name, change, tmp_path):
    cfg = Config.fromfile(TOOL['small_config'](base, change, tmp_path / 'small.py'))
    assert (cfg.model == Config.fromfile(base).model) == (change is None)
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
    records = [dict(step=step, loss=-step / 10, collapse=step / 20) for step in (1, 5, 10)]
    figure = TOOL['draw']({name: (table, records) for table, name, _ in TOOL['PRETRAININGS']})
    drawn = [line.get_label() for axes in figure.axes for line in axes.lines]
    assert set(drawn) == {name for _, name, _ in TOOL['PRETRAININGS']}
    assert drawn.count('NEPA') == 6 and drawn.count('no shift') == 2  # the recipe in every column; loss and collapse
