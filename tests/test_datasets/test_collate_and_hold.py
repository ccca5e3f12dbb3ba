import os
import re
import time
from functools import partial
from pathlib import Path

import pytest
import torch
from mmengine.dataset import default_collate
from mmengine.registry import FUNCTIONS
from torch.utils.data import DataLoader

from nepa_mm.datasets import collate_and_hold
from nepa_mm.datasets.collate_and_hold import HELD

SAMPLES = [dict(inputs=torch.full((3, 64, 64), i, dtype=torch.uint8), data_samples=[]) for i in range(48)]


def shared_files(pid: int) -> int:
    """How many tensors' shared memory a process has mapped."""
    return len(set(re.findall(r'/dev/shm/torch_\S+', Path(f'/proc/{pid}/maps').read_text())))


@pytest.mark.parametrize('collate', [default_collate, collate_and_hold])
def test_the_worker_lets_go_after_the_training_process(collate):
    before = shared_files(os.getpid())  # of other tests, which a worker is forked with
    loader = DataLoader(SAMPLES, 4, num_workers=1, collate_fn=collate, persistent_workers=True)
    for i, batch in enumerate(loader):
        assert torch.equal(batch['inputs'], default_collate(SAMPLES[4 * i:4 * i + 4])['inputs'])
    worker = loader._iterator._workers[0].pid
    expected = before + (2 if collate is collate_and_hold else 0)
    for _ in range(100):  # until the worker, which has sent all, has finished its loop
        if shared_files(worker) == expected:
            break
        time.sleep(0.1)
    assert shared_files(worker) == expected


def test_batches_are_those_of_default_collate_and_nothing_is_held_outside_of_workers():
    collate = partial(FUNCTIONS.get('nepa_mm.collate_and_hold'), batches=3)  # as mmengine builds it
    for one, other in zip(DataLoader(SAMPLES, 5, collate_fn=collate), DataLoader(SAMPLES, 5, collate_fn=default_collate)):
        assert torch.equal(one['inputs'], other['inputs']) and one['data_samples'] == other['data_samples']
    assert not HELD
    for workers in (1, 2):
        loader = DataLoader(SAMPLES, 5, num_workers=workers, collate_fn=collate, persistent_workers=True)
        for _ in range(2):
            assert torch.equal(torch.cat([batch['inputs'] for batch in loader]), default_collate(SAMPLES)['inputs'])
