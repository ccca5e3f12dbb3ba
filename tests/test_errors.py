import pytest
import torch

from nepa_mm.errors import CheckpointError, ConfigError, DataError, one_line_errors


@pytest.mark.parametrize('error, code', [(ConfigError, 2), (DataError, 3), (CheckpointError, 4)])
def test_errors_end_in_one_line_and_a_code(error, code, capsys, monkeypatch):
    with pytest.raises(SystemExit) as exit_, one_line_errors():
        raise error('what | where')
    assert exit_.value.code == code
    assert capsys.readouterr().err == 'nepa_mm: error: what | where\n'
    monkeypatch.setenv('NEPA_DEBUG', '1')
    with pytest.raises(error), one_line_errors():
        raise error('what')
    with pytest.raises(KeyError), one_line_errors():  # a bug keeps its traceback
        raise KeyError


def test_an_error_in_a_loader_s_worker_is_one_line_too(capsys):

    class Broken(torch.utils.data.Dataset):

        def __len__(self):
            return 2

        def __getitem__(self, index):
            raise DataError('no such image')

    with pytest.raises(SystemExit) as exit_, one_line_errors():
        next(iter(torch.utils.data.DataLoader(Broken(), num_workers=1)))
    assert exit_.value.code == 3 and capsys.readouterr().err.endswith('nepa_mm: error: no such image\n')
