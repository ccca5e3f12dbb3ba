"""What tools/analysis_tools/measure_sharding.py measures, on a small model; its figures decide nothing here."""
import json
import subprocess
import sys

import pytest

from tiny import ROOT


@pytest.mark.slow
def test_ways_take_turns(tmp_path):
    config = ROOT / 'configs/pretrain/nepa_vit-mini-p8_1xb64-coslr-18e_shapes-48px.py'
    done = subprocess.run([
        sys.executable, '-W', 'ignore', ROOT / 'tools/analysis_tools/measure_sharding.py', config, '--batch-size', '2',
        '--steps', '2', '--turns', '1', '--ways', 'DDP', 'FSDP1', 'FSDP2', '--json',
        tmp_path / 'figures.json'], text=True, capture_output=True)
    assert done.returncode == 0, done.stderr
    figures = json.loads((tmp_path / 'figures.json').read_text())
    assert [row['way'] for row in figures['rows']] == ['DDP', 'FSDP1', 'FSDP2'] and figures['processes'] == 2
    assert all(0.1 < row['gib'] < 4 and row['seconds'] > 0 for row in figures['rows'])
    assert figures['rows'][2]['gib_of_DDP'] == figures['rows'][2]['gib'] / figures['rows'][0]['gib']
