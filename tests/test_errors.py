import ast
import pickle
import signal

import pytest
import torch

from nepa_mm import errors
from nepa_mm.errors import CheckpointError, ConfigError, DataError, UserError, one_line_errors, run_command
from tiny import ROOT

KINDS = {name for name, value in vars(errors).items() if isinstance(value, type) and issubclass(value, UserError)}


def made_in(path):
    """Calls in a source that make one of these errors."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call) and getattr(node.func, 'id', getattr(node.func, 'attr', '')) in KINDS:
            yield node


def test_every_error_says_what_where_and_what_to_do():
    found = [(path, call) for folder in ('nepa_mm', 'tools') for path in (ROOT / folder).rglob('*.py') for call in made_in(path)]
    assert len(found) > 300  # the search finds them
    lacking = [f'{path.relative_to(ROOT)}:{call.lineno}' for path, call in found
               if not any(isinstance(part, ast.Starred) for part in call.args)  # those of another process, raised again
               and (len(call.args) != 3 or any(isinstance(part, ast.Constant) and not part.value for part in call.args))]
    assert not lacking


def test_an_interrupt_says_what_the_command_has_told(monkeypatch):
    before, said = signal.getsignal(signal.SIGINT), []
    monkeypatch.setattr(errors, 'end_at_once', said.append)
    try:
        errors.end_on_interrupt('ended at once; nothing is measured')
        signal.raise_signal(signal.SIGINT)
        errors.end_on_interrupt()
        signal.raise_signal(signal.SIGINT)
    finally:
        signal.signal(signal.SIGINT, before)
    assert said == ['ended at once; nothing is measured', 'ended at once; there was nothing to save']


@pytest.mark.parametrize('error, code', [(ConfigError, 2), (DataError, 3), (CheckpointError, 4)])
def test_errors_end_in_one_line_and_a_code(error, code, capsys, monkeypatch):
    with pytest.raises(SystemExit) as exit_, one_line_errors():
        raise error('what\nof two lines', 'where', 'remedy')
    assert exit_.value.code == code
    assert capsys.readouterr().err == 'nepa_mm: error: what of two lines | where | remedy\n'
    monkeypatch.setenv('NEPA_DEBUG', '1')
    with pytest.raises(error), one_line_errors():
        raise error('what', 'where', 'remedy')
    with pytest.raises(SystemExit) as exit_, one_line_errors():
        raise KeyboardInterrupt
    assert exit_.value.code == 130 and capsys.readouterr().err == 'nepa_mm: SIGINT: ended\n'
    with pytest.raises(KeyError), one_line_errors():  # a bug keeps its traceback
        raise KeyError


def test_the_three_fields_outlive_a_copy_to_another_process():
    error = pickle.loads(pickle.dumps(DataError('what', 'a file', 'a | b')))
    assert (error.what, error.where, error.remedy) == ('what', 'a file', 'a | b')


def test_an_error_in_a_loader_s_worker_is_one_line_too(capsys):

    class Broken(torch.utils.data.Dataset):

        def __len__(self):
            return 2

        def __getitem__(self, index):
            raise DataError('no such image', 'a.png', 'mend it')

    with pytest.raises(DataError) as error:
        next(iter(torch.utils.data.DataLoader(Broken(), num_workers=1)))
    assert (error.value.what, error.value.where, error.value.remedy) == ('no such image', 'a.png', 'mend it')
    with pytest.raises(SystemExit) as exit_, one_line_errors():
        raise error.value
    assert exit_.value.code == 3 and capsys.readouterr().err == 'nepa_mm: error: no such image | a.png | mend it\n'


def test_what_a_script_calls_runs_where_it_is_started_as_a_command(capsys):
    def main(code):
        if code == 2:
            raise ConfigError('0 is wrong', 'key', 'give 1')
        return code

    assert run_command(main, 3) is None  # imported
    main.__module__ = '__main__'
    assert run_command(main, 'arguments') == 'arguments'
    for code in (3, 2, 0):
        with pytest.raises(SystemExit) as exit_:
            run_command(main, code)
        assert exit_.value.code == code
    assert capsys.readouterr().err == 'nepa_mm: error: 0 is wrong | key | give 1\n'
