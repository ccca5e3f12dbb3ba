"""tools/analysis_tools/benchmark_startup.py, one turn of it."""
import json

import forks
import pytest

from tiny import ROOT


@pytest.mark.slow
def test_every_command_ends_as_it_should_and_has_its_time(tmp_path):
    pytest.importorskip('mmpretrain')
    tool = ROOT / 'tools/analysis_tools/benchmark_startup.py'
    done = forks.done(tool, '--repeats', 1, '--json', tmp_path / 'a.json', timeout=900)
    assert done.returncode == 0, done.stderr
    figures = json.loads((tmp_path / 'a.json').read_text())
    assert len(figures) == 9 and all(len(each['seconds']) == 1 and each['median'] > 0 for each in figures.values())
    ratio, = figures['first step of NEPA']['ratios']
    step, theirs = (figures[name]['median'] for name in ('first step of NEPA', 'mmpretrain: first step of MAE'))
    assert ratio == pytest.approx(step / theirs)
    assert f'| first step of NEPA | {step:.2f} | {ratio:.2f} ({ratio:.2f} to {ratio:.2f}) |' in done.stdout
