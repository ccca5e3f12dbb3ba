import os
import threading
from collections import defaultdict
from pathlib import Path
from zipfile import ZipFile

import pytest
import torch

from nepa_mm.checkpoints.storage import durable
from nepa_mm.checkpoints.storage.durable import (
    check_whole,
    newest_whole,
    remove_temporaries,
    size_of,
    write_checkpoint,
)
from nepa_mm.checkpoints.storage.names import checkpoints_in
from nepa_mm.errors import CheckpointError, StorageError


def write(folder: Path, name: str, step: int) -> Path:
    write_checkpoint(dict(meta=dict(iter=step), state_dict=dict(a=torch.arange(5.))), folder / name)
    return folder / name


def test_the_newest_comes_first_by_step_where_epochs_and_iterations_are_mixed(tmp_path):
    steps = {'epoch_1.pth': 5, 'iter_7.pth': 7, 'epoch_2.pth': 10, 'epoch_10.pth': 50, 'iter_49.pth': 49, 'iter_100.pth': 100}
    for name, step in steps.items():
        write(tmp_path, name, step)
    for other in ('best_accuracy_epoch_2.pth', 'diverged_iter_200.pth', 'epoch_x.pth', '.epoch_11.pth.tmp', 'iter_9.pth.bak'):
        (tmp_path / other).write_bytes(b'')
    assert [path.name for path in checkpoints_in(tmp_path)] == sorted(steps, key=steps.get, reverse=True)
    assert list(checkpoints_in(tmp_path / 'nowhere')) == []


def test_one_that_cannot_be_read_is_looked_at_and_named_not_passed_over(tmp_path):
    write(tmp_path, 'epoch_1.pth', 5)
    write(tmp_path, 'iter_7.pth', 7)
    (tmp_path / 'epoch_2.pth').write_bytes(b'x' * 100)
    warnings = []
    assert newest_whole([tmp_path], warnings.append).name == 'iter_7.pth'
    assert len(warnings) == 1 and warnings[0].startswith('epoch_2.pth: it is cut, or no checkpoint (')
    assert warnings[0].endswith('; resuming from iter_7.pth, the newest that is whole')


def test_a_folder_without_checkpoints(tmp_path):
    assert newest_whole([tmp_path], pytest.fail) is None


def test_every_bit_counts(tmp_path):
    path = write(tmp_path, 'iter_1.pth', 1)
    whole = path.read_bytes()
    check_whole(path)
    at = whole.index(torch.arange(5.).numpy().tobytes())
    for byte in range(at, at + 20):
        for bit in range(8):
            path.write_bytes(whole[:byte] + bytes([whole[byte] ^ 1 << bit]) + whole[byte + 1:])
            with pytest.raises(CheckpointError, match='1 of its [0-9]+ parts are not what was written'):
                check_whole(path)


def test_each_thread_reads_by_an_archive_of_its_own(tmp_path, monkeypatch):
    """Python 3.12's threads read parts of each other, where they share one: a whole checkpoint seemed damaged now and then."""
    path, threads, read = tmp_path / 'epoch_1.pth', defaultdict(set), []
    torch.save({str(i): torch.zeros(1) for i in range(20)}, path)

    class Archive(ZipFile):

        def open(self, entry, *args, **kwargs):
            threads[id(self)].add(threading.get_ident())
            read.append(entry.filename)
            return super().open(entry, *args, **kwargs)

    kept = []  # or the next one could have the id of the last
    monkeypatch.setattr(durable, 'ZipFile', lambda *args: kept.append(Archive(*args)) or kept[-1])
    monkeypatch.setattr(os, 'cpu_count', lambda: 4)
    check_whole(path)
    assert len(threads) == 4 and all(len(each) == 1 for each in threads.values())
    assert sorted(read) == sorted(kept[0].namelist()) and len(read) > 20


def test_no_bit_of_the_list_of_parts_leads_to_other_weights_or_to_none(tmp_path):
    path = write(tmp_path, 'iter_1.pth', 1)
    whole = path.read_bytes()
    for byte in range(whole.index(b'PK\x01\x02'), len(whole)):  # where ZipFile and torch do not look alike
        path.write_bytes(whole[:byte] + bytes([whole[byte] ^ 8]) + whole[byte + 1:])
        try:
            check_whole(path)
        except CheckpointError:
            continue
        assert torch.equal(torch.load(path, weights_only=True)['state_dict']['a'], torch.arange(5.)), byte


def test_one_that_the_system_does_not_read_is_named(tmp_path):
    write(tmp_path, 'epoch_1.pth', 5)
    (tmp_path / 'epoch_2.pth').mkdir()
    warnings = []
    assert newest_whole([tmp_path], warnings.append).name == 'epoch_1.pth'
    assert warnings == ['epoch_2.pth: a folder without manifest.pth; resuming from epoch_1.pth, the newest that is whole']
    with pytest.raises(CheckpointError, match='No such file'):
        check_whole(tmp_path / 'epoch_3.pth')


def test_every_cut_is_found(tmp_path):
    path = write(tmp_path, 'iter_1.pth', 1)
    whole = path.read_bytes()
    for size in range(0, len(whole), 37):
        path.write_bytes(whole[:size])
        with pytest.raises(CheckpointError, match='it is cut|it is empty'):
            check_whole(path)


def test_a_failing_disk_leaves_what_had_the_name(tmp_path, monkeypatch):
    path = write(tmp_path, 'iter_1.pth', 1)
    before = path.read_bytes()

    def fail(_):
        raise OSError(5, 'Input/output error')

    monkeypatch.setattr(os, 'fsync', fail)
    with pytest.raises(StorageError, match=r'it needs 20 bytes, and [0-9,]+ are free .*error\) \| .*iter_1.pth \| '):
        write(tmp_path, 'iter_1.pth', 2)
    assert path.read_bytes() == before and os.listdir(tmp_path) == ['iter_1.pth']


def test_a_folder_that_cannot_be_made_or_written_is_named(tmp_path):
    (tmp_path / 'file').write_bytes(b'')
    with pytest.raises(StorageError, match=r'Not a directory.* \| .*/file/run/iter_1.pth \| '):
        write(tmp_path / 'file/run', 'iter_1.pth', 1)


def test_temporary_files_go_and_others_stay(tmp_path):
    for name in ('.iter_4.pth.tmp', '.best_a_epoch_1.pth.tmp', '.hidden', 'x.tmp', 'iter_4.pth'):
        (tmp_path / name).write_bytes(b'')
    remove_temporaries(tmp_path)
    assert sorted(os.listdir(tmp_path)) == ['.hidden', 'iter_4.pth', 'x.tmp']


def test_size_counts_all_tensors():
    nested = [torch.ones(2, dtype=torch.bfloat16), dict(c=torch.ones(1, dtype=torch.int64))]
    assert size_of(dict(a=torch.ones(3), b=nested, d='x')) == 12 + 4 + 8
