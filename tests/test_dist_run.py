"""Which of several processes failed first, by what each left to tools/dist_run.py."""
import json
import runpy
import signal

import pytest
from torch.distributed.elastic.multiprocessing.errors import ProcessFailure

from nepa_mm.errors import ConfigError, ProcessError, Stopped, one_line_errors
from tiny import ROOT

LAUNCHER = runpy.run_path(str(ROOT / 'tools/dist_run.py'))
FOLLOWS = ProcessError('another process of the training died or hangs', 'x', 'go on with --resume')
BUG = 'nepa_mm: error: AssertionError: a bug | process {rank}, pid 7 | see its traceback above'


@pytest.mark.parametrize('errors, killed, rank, code, line', [
    ([FOLLOWS, AssertionError('a bug')], {}, 1, 1, BUG),
    ([AssertionError('a bug'), FOLLOWS], {0: -signal.SIGTERM}, 0, 1, BUG),  # by the launcher, on its way out
    ([Stopped(signal.SIGTERM, 'SIGTERM: stopped after step 3'), AssertionError('a bug')], {}, 1, 1, BUG),
    ([None, AssertionError('a bug')], {0: -signal.SIGTERM}, 1, 1, BUG),
    ([FOLLOWS, None], {1: -signal.SIGKILL}, 1, 7,
     'nepa_mm: error: a process of the training died (SIGKILL) | process 1, pid 7 | go on with --resume'),
    ([FOLLOWS, None], {1: 2}, 1, 2,
     'nepa_mm: error: a process of the training failed with exit code 2 | process 1, pid 7 | see what it says above'),
    ([ConfigError('5', 'x', 'y'), ConfigError('5', 'x', 'y')], {}, 0, 2, 'nepa_mm: error: 5 | x | y'),
    ([ConfigError('6', 'x', 'y'), ConfigError('5', 'x', 'y')], {}, 0, 2, 'nepa_mm: error: 6 | x | y'),
])
def test_the_first_to_fail_is_told_with_its_code(errors, killed, rank, code, line, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr('os.getpid', lambda: 7)
    failures = []
    for number, error in enumerate(errors):
        path = tmp_path / f'{number}.json'
        monkeypatch.setenv('TORCHELASTIC_ERROR_FILE', str(path))
        monkeypatch.setenv('RANK', str(number))
        if error is not None:
            with pytest.raises((SystemExit, AssertionError)), one_line_errors():
                raise error
        exit_code = killed.get(number) or json.loads(path.read_text())['exit_code']
        failures.append(ProcessFailure(local_rank=number, pid=7, exitcode=exit_code, error_file=str(path)))
    capsys.readouterr()
    first = LAUNCHER['first_of'](failures)
    assert LAUNCHER['end'](first) == code and first.local_rank == rank
    assert capsys.readouterr().err == line.format(rank=rank) + '\n'
