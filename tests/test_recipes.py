"""docs/recipes.md is what the configs build."""
import runpy

import torch
from mmengine.config import Config
from mmengine.registry import DefaultScope

from tiny import ROOT

TOOL = runpy.run_path(str(ROOT / 'tools/analysis_tools/write_recipes.py'))


def test_the_page_is_up_to_date():
    try:
        made = TOOL['page']()
    finally:
        DefaultScope._instance_dict.clear()
    written = (ROOT / 'docs/recipes.md').read_text()
    assert made == written, 'docs/recipes.md is old: python tools/analysis_tools/write_recipes.py docs/recipes.md'


def test_weight_decay_goes_by_rank():
    for pattern in TOOL['RECIPES'].values():
        path = sorted((ROOT / 'configs').glob(pattern.format('base')))[0]
        try:
            wrapper = TOOL['build'](Config.fromfile(path))[0]
        finally:
            DefaultScope._instance_dict.clear()
        groups = [group for group in wrapper.optimizer.param_groups if 'layer_depth' in group]
        for group in groups:
            ranks = {parameter.ndim for parameter in group['params']}
            assert (group['weight_decay'] == 0.05) == (min(ranks) > 1) and (group['weight_decay'] == 0.) == (ranks == {1})
        assert len(groups) < 32  # few, not one for each tensor
        assert all(isinstance(parameter, torch.nn.Parameter) for group in groups for parameter in group['params'])
