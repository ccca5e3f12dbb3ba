import io

import pytest
from rich.console import Console

from nepa_mm.visualization.progress import Progress, clock, panel

RUN = dict(title='run in work_dirs/run', step=250, steps=1000, epoch=3, epochs=10, elapsed=75., left=225., step_time=0.3,
           images=64, waiting=0.12, memory=11.24,
           numbers=dict(loss=-0.89904, cosine=0.89904, collapse=0.31, grad_norm=0.5, lr=1.2e-3))


def lines(width=200, colour=False, encoding='utf-8', **changes):
    file = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    console = Console(file=file, width=width, force_terminal=colour, color_system='standard' if colour else None, soft_wrap=True)
    console.print(panel(Progress(**{**RUN, **changes})))
    file.seek(0)
    return file.read().splitlines()


def test_every_number_has_its_name():
    title, bar, facts = lines()
    assert title == 'run in work_dirs/run' and bar.startswith('epoch 3/10 ━') and bar.endswith(' 25 %') and len(bar) == 200
    assert facts == ('step 250/1000  passed 0:01:15  left 0:03:45  images/s 213.3  waiting for data 12 %  loss -0.899  '
                     'cosine 0.899  collapse [###.......] 0.310  grad_norm 0.5  lr 1.200e-03  memory 11.2 GiB')
    assert clock(90_061) == '1 day, 1:01:01' and clock(None) == '?'


def test_what_is_not_known_is_not_shown():
    facts = lines(step_time=None, waiting=None, memory=None, numbers={}, left=None, first_log=100, epochs=None)
    assert facts[1].startswith('training ') and facts[2] == 'step 250/1000  passed 0:01:15  left ?  loss is read at step 100'
    assert 'steps/s 3.33' in lines(images=None)[2]


@pytest.mark.parametrize('width', [30, 44, 80])
def test_lines_break_between_facts(width):
    wide, narrow = lines(1000)[2], lines(width)
    assert all(len(line) <= width for line in narrow) and '  '.join(narrow[2:]) == wide and narrow[1].endswith(' 25 %')


def test_colours_warn():
    for collapse, code in ((0.3, '1;32'), (0.6, '1;33'), (0.97, '1;31')):
        assert f'\x1b[{code}m{collapse:.3f}' in '\n'.join(lines(colour=True, numbers=dict(collapse=collapse)))
    for waiting, code in ((0.01, '1;32'), (0.1, '1;33'), (0.4, '1;31')):
        assert f'\x1b[{code}m{100 * waiting:.0f} %' in '\n'.join(lines(colour=True, waiting=waiting))


def test_a_test_has_a_bar_alone_and_ascii_does():
    title, bar = lines(width=60, steps=None, check=('test', 5, 20), encoding='ascii')
    assert bar.startswith('test 5/20 ---') and bar.endswith(' 25 %')


def test_a_gauge_stays_in_its_bounds():
    assert 'collapse [..........] -0.100' in lines(numbers=dict(collapse=-0.1))[2]
    assert 'collapse [##########] 1.000' in lines(numbers=dict(collapse=1.0001))[2]
    assert 'collapse [..........] nan' in lines(numbers=dict(collapse=float('nan')))[2]  # a step before the training is stopped
