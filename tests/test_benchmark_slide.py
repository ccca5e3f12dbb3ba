"""What the benchmark of windows compares, on a small model and image."""
import json
import sys

import pytest
from test_benchmark_loader import load

from nepa_mm.errors import ConfigError
from tiny import ROOT, counts

SHAPES = ROOT / 'configs/segmentation/nepa_vit-mini-p8_upernet_1xb8-300i_shapes-76x76.py'


@counts
def test_it_takes_turns_with_mmseg(tmp_path, monkeypatch, capsys):
    benchmark = load('benchmark_slide')
    monkeypatch.setattr(sys, 'argv', ['', str(SHAPES), '--size', '130', '100', '--windows', '1', '3', '--turns', '2', '--json',
                                      str(tmp_path / 'slide.json')])
    benchmark.main(benchmark.parse_args())
    rows = json.loads((tmp_path / 'slide.json').read_text())['rows']
    assert list(rows) == ['mmseg', '1 at once', '3 at once']
    assert all(len(row['faster']['pairs']) == 2 and row['seconds'] > 0 for row in rows.values())
    assert rows['1 at once']['off'] == 0 and rows['3 at once']['off'] < 1e-5 and rows['3 at once']['pixels'] == 0
    assert rows['1 at once']['bytes'] < rows['3 at once']['bytes']
    assert '| 3 at once | ' in capsys.readouterr().out


def test_a_config_without_windows_is_refused(monkeypatch):
    path = str(ROOT / 'configs/pretrain/nepa_vit-mini-p8_1xb64-coslr-18e_shapes-48px.py')
    monkeypatch.setattr(sys, 'argv', ['', path])
    with pytest.raises(ConfigError, match='no model.test_cfg.mode=slide'):
        load('benchmark_slide').parse_args()
