from pathlib import Path

import pytest
import torch
from torch.nn.parallel import DistributedDataParallel

from nepa_mm.launch.build_runner import end_process_group
from tiny import OF_24


@pytest.mark.skipif(OF_24, reason='torch 2.4 gives threads of gloo no name')
@pytest.mark.skipif(not Path('/proc/self/task').is_dir(), reason='threads are listed by Linux alone')
def test_no_thread_of_gloo_outlives_its_group_though_a_cycle_holds_the_model(tmp_path):

    def threads():
        return {(task / 'comm').read_text().strip() for task in Path('/proc/self/task').iterdir()}

    torch.distributed.init_process_group('gloo', init_method=f'file://{tmp_path}/store', rank=0, world_size=1)
    runner = dict(model=DistributedDataParallel(torch.nn.Linear(1, 1)))
    runner['hook'] = runner
    del runner
    assert any('gloo' in name for name in threads())
    end_process_group()
    assert not any('gloo' in name for name in threads())
