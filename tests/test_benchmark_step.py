import json
import sys
from importlib.util import module_from_spec, spec_from_file_location

from mmengine.registry import DefaultScope

from tiny import ROOT, TINY


def test_two_settings_in_turns(tmp_path, monkeypatch):
    path = ROOT / 'tools/analysis_tools/benchmark_step.py'
    tool = module_from_spec(spec := spec_from_file_location('benchmark_step', path))
    spec.loader.exec_module(tool)
    config = tmp_path / 'tiny.py'
    config.write_text(f"_base_ = '{ROOT}/configs/pretrain/nepa_vit-mini-p8_1xb64-coslr-18e_shapes-64px.py'\n"
                      f"model = dict(backbone=dict(arch={TINY['arch']}))\n")
    monkeypatch.setattr(sys, 'argv', [
        'benchmark_step.py', str(config), '--batch-size', '2', '--steps', '2', '--b', 'model.backbone.arch.num_layers=12',
        '--out', str(tmp_path / 'result.json')])
    try:
        tool.main()
    finally:
        DefaultScope._instance_dict.clear()
    result = json.loads((tmp_path / 'result.json').read_text())
    assert result['ms']['a'].keys() == {'forward', 'backward', 'optimizer', 'ema', 'step'} and result['clock'] == 'process'
    assert result['b_over_a']['of_minima'] > 1.2  # four times the blocks
    parts = [result['ms']['b'][part]['min'] for part in tool.PARTS]
    assert all(part > 0 for part in parts) and sum(parts) <= result['ms']['b']['step']['min'] * 1.001
