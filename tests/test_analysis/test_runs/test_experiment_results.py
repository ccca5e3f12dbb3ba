import json
import os
import statistics
from datetime import datetime
from pathlib import Path

import pytest

from nepa_mm.analysis.runs.experiment import Row, Training
from nepa_mm.analysis.runs.experiment_results import draw_curves, draw_points, draw_ranks, numbers_of, record_of, spread, table_of

START, TUNED = Training('start', 'a.py'), Training('tuned', 'b.py')


def record(training, seed, wall_s=1800, **results):
    curve = [dict(step=step, loss=-step / 10, collapse=step / 20 + seed) for step in (1, 5, 10)]
    return dict(training=training, seed=seed, results=results, wall_s=wall_s, curve=curve)


RECORDS = [record('start', 0, loss=-0.9, collapse=0.1), record('start', 1, loss=-0.8, collapse=0.3),
           record('tuned', 0, **{'accuracy/top1': 60.}), record('tuned', 1, **{'accuracy/top1': 64.})]
ROWS = [Row('NEPA', '83.8', {'loss': (START, 'loss'), 'top-1': (TUNED, 'accuracy/top1')}),
        Row('scratch', '', {'top-1': (TUNED, 'accuracy/top1')})]


def test_spread_by_hand():
    assert statistics.stdev([60, 62, 67]) == pytest.approx(13**0.5)
    assert spread([60., 62., 67.]) == '63.0 ± 3.6'
    assert spread([-0.9, -0.8]) == '-0.850 ± 0.071'
    assert spread([41.27]) == '41.3'
    assert spread([]) == ''


def test_table_by_hand():
    assert table_of(ROWS, RECORDS).splitlines() == [
        '| | loss | top-1 | paper |',
        '| --- | ---: | ---: | --- |',
        '| NEPA | -0.850 ± 0.071 | 62.0 ± 2.8 | 83.8 |',
        '| scratch |  | 62.0 ± 2.8 |  |',
        '',
        '4 trainings in all (2 seeds), 2.0 hours, each on one core.',
    ]
    assert table_of(ROWS, RECORDS, 'arXiv 2610.02203').startswith('| | loss | top-1 | arXiv 2610.02203 |\n')
    assert numbers_of(ROWS[0], 'top-1', RECORDS) == [60., 64.]
    assert table_of(ROWS, RECORDS[::2]).endswith('\n\n2 trainings in all (1 seed), 1.0 hours, each on one core.\n')


def test_record_of_a_training_that_was_cut_off_once(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    place = Path('out/start/seed3')
    steps = iter(range(1, 101))
    for start, end in (('20300101_100000', '20300101_100130'), ('20300101_110000', '20300101_110030')):
        path = place / start / 'vis_data/scalars.json'
        path.parent.mkdir(parents=True)
        lines = [dict(loss=-step / 100, collapse=0.5, lr=1., step=step) for _, step in zip(range(50), steps)]
        path.write_text('\n'.join(map(json.dumps, lines)) + '\n')
        for entry in (path, path.parent, place / start):
            os.utime(entry, (stamp := datetime.strptime(end, '%Y%m%d_%H%M%S').timestamp(), stamp))
    with open(path, 'a') as file:
        file.write(json.dumps({'accuracy/top1': 61.5, 'step': 100}) + '\n')
    os.utime(path, (stamp, stamp))
    found = record_of(START, 3, Path('out'))
    assert found['wall_s'] == 90 + 30
    assert found['results'] == {'loss': -1.0, 'collapse': 0.5, 'accuracy/top1': 61.5}
    assert found['command'] == 'python tools/train.py configs/a.py --work-dir out/start/seed3 --cfg-options randomness.seed=3'
    steps = [point['step'] for point in found['curve']]
    assert steps == list(range(2, 101, 2)) and found['curve'][-1] == dict(step=100, loss=-1.0, collapse=0.5)


def test_a_step_that_is_done_again_after_a_resume_counts_once(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for start, loss, steps in (('20300101_100000', -0.1, range(1, 31)), ('20300101_110000', -0.9, range(21, 41))):
        path = Path('out/start/seed3') / start / 'vis_data/scalars.json'
        path.parent.mkdir(parents=True)
        path.write_text('\n'.join(json.dumps(dict(loss=loss, step=step)) for step in steps) + '\n')
    found = record_of(START, 3, Path('out'))
    assert found['curve'] == [dict(step=step, loss=-0.1 if step < 21 else -0.9) for step in range(1, 41)]
    assert 'change' in found and found['change'] is START.change


def test_curves_of_every_seed_are_drawn():
    panels = draw_curves(ROWS, RECORDS).axes
    assert [len(axes.lines) for axes in panels] == [2, 0]  # no row has a collapse
    assert [line.get_label() for line in panels[0].lines][0] == 'NEPA' and len(panels[0].get_legend().texts) == 1
    assert panels[0].lines[1].get_xydata().tolist() == [[1, -0.1], [5, -0.5], [10, -1.0]]


def test_points_and_spreads_are_drawn():
    rows = [Row(name, '', {'top-1': (Training(f't{name}', 'b.py'), 'accuracy/top1')}) for name in '12']
    records = [record(f't{name}', seed, **{'accuracy/top1': value + seed}) for name, value in (('1', 50.), ('2', 60.))
               for seed in (0, 1)]
    axes, = draw_points(rows, records).axes
    assert axes.lines[0].get_ydata().tolist() == [50.5, 60.5]
    (low, high), _ = axes.containers[0].lines[2][0].get_segments()
    assert high[1] - low[1] == pytest.approx(2 * statistics.stdev([50, 51]))


def test_probes_over_ranks_and_how_their_orders_agree():
    """By hand: of four points two neighbours change places, 1 - 6 * 2 / (4 * 15) = 0.8."""
    cells = {name: {'linear': (Training(f'{name}_probe', 'b.py'), 'accuracy/top1'),
                    **{rank: (Training(name, 'a.py'), rank.lower()) for rank in ('RankMe', 'LiDAR')}} for name in 'ab'}
    numbers = dict(a=[(10., 40., 50.), (20., 30., 60.)], b=[(30., 20., 80.), (40., 10., 70.)])
    records = [each for name, seeds in numbers.items() for seed, (rank, other, top1) in enumerate(seeds)
               for each in (record(name, seed, rankme=rank, lidar=other),
                            record(f'{name}_probe', seed, **{'accuracy/top1': top1}))]
    panels = draw_ranks([Row(name, '', cells[name]) for name in 'ab'], records).axes
    assert [axes.get_title() for axes in panels] == [f'rank correlation {r}, 4 pretrainings' for r in ('0.80', '-0.80')]
    assert panels[0].lines[1].get_xydata().tolist() == [[30, 80], [40, 70]]
