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
def test_the_first_to_fail_is_told_with_its_code(errors, killed, rank, code, line, tmp_path, monkeypatch):
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
    first = LAUNCHER['first_of'](failures)
    assert LAUNCHER['told'](first) == (line.format(rank=rank), code) and first.local_rank == rank


@pytest.mark.parametrize('given, restarts, others', [
    ([], 0, []), (['--max-restarts', '2'], 2, []), (['--resume', '--max-restarts=2', '--cfg-options', 'a=1', 'b=2'], 2,
                                                     ['--resume', '--cfg-options', 'a=1', 'b=2']),
    (['--cfg-options', 'a=1', '--max-restarts', '2', '--amp'], 2, ['--cfg-options', 'a=1', '--amp'])])
def test_the_launchers_own_argument_stands_anywhere(given, restarts, others):
    command = ['--nnodes=1', '--master_port=0', 'tools/train.py', 'config.py', *given, '--launcher', 'pytorch']
    assert LAUNCHER['taken_out'](command) == (restarts, [*command[:4], *others, '--launcher', 'pytorch'])


@pytest.mark.parametrize('value', ['-1', 'often'])
def test_a_number_of_restarts_that_is_none_is_refused(value, capsys):
    with pytest.raises(SystemExit, match='2'):
        LAUNCHER['taken_out'](['train.py', '--max-restarts', value])
    assert capsys.readouterr().err.splitlines()[-1].startswith('dist_train.sh: error: argument --max-restarts: ')


def test_several_machines_do_not_start_again(monkeypatch, capsys):
    monkeypatch.setattr('sys.argv', ['dist_run.py', '--nnodes=2', 'train.py', 'config.py', '--max-restarts', '1'])
    handlers = {number: signal.getsignal(number) for number in (signal.SIGUSR1, signal.SIGINT)}
    try:
        assert LAUNCHER['main']() == 2
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
    assert capsys.readouterr().err == (
        'nepa_mm: error: 2 machines do not start again by themselves | --max-restarts | leave it out, and let the scheduler '
        'start all of them again with --resume\n')
