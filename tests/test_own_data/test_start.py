"""Which weights a training begins with."""
import torch

from nepa_mm.own_data.start import newest_in


def test_a_work_dir_stands_for_its_newest_checkpoint(tmp_path):
    assert newest_in(str(tmp_path)) == str(tmp_path)  # of no training
    for name, step in dict(epoch_2=20, epoch_10=100, iter_96=96).items():
        torch.save(dict(meta=dict(iter=step), state_dict={}), tmp_path / f'{name}.pth')
    assert newest_in(str(tmp_path)) == str(tmp_path / 'epoch_10.pth')
    # Where a signal stopped the training, which no pointer tells
    (tmp_path / 'last_checkpoint').write_text(str(tmp_path / 'epoch_10.pth'))
    torch.save(dict(meta=dict(iter=104), state_dict={}), tmp_path / 'iter_104.pth')
    assert newest_in(str(tmp_path)) == str(tmp_path / 'iter_104.pth')
    assert [newest_in(address) for address in ('hf:ORG/NAME', 'gone.pth')] == ['hf:ORG/NAME', 'gone.pth']
