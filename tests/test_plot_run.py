"""The real command, on a log of known numbers."""
import json
import runpy
import sys

import forks
import pytest
from PIL import Image

from tiny import ROOT, WARNED


def plot(*arguments):
    return forks.done('tools/analysis_tools/plot_run.py', *arguments)


@pytest.fixture(scope='module')
def runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp('runs')
    for name in ('a/run', 'b/run'):
        path = folder / name / 'start/vis_data/scalars.json'
        path.parent.mkdir(parents=True)
        lines = [dict(lr=0.1, time=0.5, loss=5. - i, iter=i, step=i) for i in range(1, 5)] + [dict(mIoU=40., step=4)]
        path.write_text('\n'.join(map(json.dumps, lines)))
    return folder


def test_pictures_are_written_and_last_numbers_printed(runs, tmp_path):
    done = plot(runs / 'a/run', runs / 'b/run', '--out', tmp_path / 'new/two.png', '--smooth', 3)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ['a/run: step 4, loss 1, mIoU 40', 'b/run: step 4, loss 1, mIoU 40',
                                        f'{tmp_path}/new/two.png written']
    picture = Image.open(tmp_path / 'new/two.png')
    assert min(picture.size) > 500 and len(picture.convert('RGB').getcolors(1 << 20)) > 10
    assert plot(runs / 'a/run', '--out', tmp_path / 'one.pdf', '--labels', 'NEPA').stdout.startswith('NEPA: step 4')
    assert (tmp_path / 'one.pdf').read_bytes().startswith(b'%PDF')


def test_bad_input_ends_in_one_line(runs, tmp_path, monkeypatch, capsys):
    done = plot(tmp_path, '--out', 'x.png')
    assert done.returncode == 3 and len(WARNED.sub('', done.stderr).splitlines()) == 1
    cases = {
        (tmp_path, '--out', 'x.png'): (3, 'it holds no TIME/vis_data/scalars.json | '),
        (runs / 'a/run', '--out', 'x.jpg'): (2, 'it is of no format known here | x.jpg | end it in .png, .pdf, .svg'),
        (runs / 'a/run', runs / 'a/run', '--out', 'x.png'): (2, 'a run is named twice'),
        (runs / 'a/run', '--out', 'x.png', '--labels', 'a', 'b'): (2, 'a b are not one name for each of 1 runs | --labels'),
        (runs / 'a/run', '--out', 'x.png', '--smooth', '0'): (2, '0 is less than 1 | --smooth'),
        (runs / 'a/run', '--out', 'x.png', '--x', 'epoch'): (2, 'epoch: run counts iterations'),
    }
    for arguments, (code, message) in cases.items():
        monkeypatch.setattr(sys, 'argv', ['plot_run.py', *map(str, arguments)])
        with pytest.raises(SystemExit) as exit_:  # in this process; above, the command
            runpy.run_path(str(ROOT / 'tools/analysis_tools/plot_run.py'), run_name='__main__')
        line, = capsys.readouterr().err.strip().splitlines()
        assert exit_.value.code == code and line.startswith('nepa_mm: error: ') and message in line, line
    assert not (ROOT / 'x.png').exists()
