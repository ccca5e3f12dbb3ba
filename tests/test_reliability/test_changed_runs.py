"""Runs that are resumed with other settings, and with other numbers of processes."""
import json
import signal

import pytest
from mmengine.runner.loops import _InfiniteDataloaderIterator

from nepa_mm.checkpoints.storage.pickled import read_meta
from nepa_mm.engine.runner.reliable_runner import KEY
from runs import at, finish, last_checkpoint, losses, start, train, write_config
from two import train_two

CHANGES = {
    'train_dataloader.batch_size: 2 -> 4': dict(train_dataloader__batch_size=4),
    'optim_wrapper.accumulative_counts: 2 -> 3': dict(auto_scale_lr__base_batch_size=6),
    'randomness.seed: 1337 -> 5': dict(randomness__seed=5),
    'images: 20 -> 10': dict(train_dataloader__dataset__indices=10),
}


@pytest.mark.parametrize('change', CHANGES)
def test_a_change_is_refused_or_accepted(change, copy, whole):
    config, _ = whole('iter')
    before = {path.name: path.read_bytes() for path in copy.glob('*.pth')}
    message = train(config, copy, '--resume', code=2, **CHANGES[change])
    line = message.splitlines()[-1]
    assert line.startswith('nepa_mm: error: ') and change in line and '--allow-resume-change' in line
    assert {path.name: path.read_bytes() for path in copy.glob('*.pth')} == before
    train(config, copy, '--resume', '--allow-resume-change', **CHANGES[change])
    assert losses(copy)[-1]['iter'] == 15


RECORD = '''
import json, os, zlib
from nepa_mm.datasets import SeededDataset
draw = SeededDataset.__getitem__
def draw_and_record(self, index):
    sample = draw(self, index)
    record = [index.epoch, index.position, int(index), zlib.crc32(sample['inputs'].numpy().tobytes())]
    with open(os.environ['RECORD'], 'a') as file:
        file.write(json.dumps(record) + chr(10))
    return sample
SeededDataset.__getitem__ = draw_and_record
'''


def drawn(record) -> set[tuple]:
    """Epoch, place, index and pixels of what was drawn."""
    return {tuple(json.loads(line)) for line in record.read_text().splitlines()}


STEP = 'mmengine.optim:OptimWrapper.step'


@pytest.mark.parametrize('runner', ['nepa_mm.ReliableRunner', 'Runner'], ids=['ours', "mmengine's"])
def test_saved_at_the_end_of_a_pass_by_either_runner_it_reads_none_of_that_again(runner, tmp_path):
    config, record, run = write_config(tmp_path, 'iter-epochs'), tmp_path / 'record', tmp_path / 'run'
    finish(start(config, run, before=at(STEP, 8), runner_type=runner, default_hooks__checkpoint__interval=5), -9)
    train(config, run, '--resume', before=RECORD, env=dict(RECORD=str(record)))
    assert {each[:2] for each in drawn(record)} >= {(epoch, place) for epoch in (1, 2) for place in range(20)}
    # The original mmengine starts the workers, which read ahead, before a checkpoint is chosen: 2 x 2 batches of 2.
    ahead = 0 if hasattr(_InfiniteDataloaderIterator, 'skip_iter') else 8
    assert sum(each[0] == 0 for each in drawn(record)) <= ahead
    assert read_meta(run / 'iter_15.pth')[KEY]['place'] == dict(epoch=3, images=0)


PLAIN = '''
from mmengine.registry import DATA_SAMPLERS
from torch.utils.data import BatchSampler
class Plain(BatchSampler):
    def __init__(self, sampler, batch_size):
        super().__init__(sampler, batch_size, drop_last=True)
DATA_SAMPLERS.register_module(module=Plain)
'''


def test_a_batch_sampler_of_its_own_begins_the_epoch_anew_and_says_so(tmp_path):
    config, run = write_config(tmp_path, 'mmengine-epoch'), tmp_path / 'run'
    config.write_text(config.read_text().replace('drop_last=True, ', ''))
    options = dict(train_dataloader__batch_sampler__type='Plain', train_cfg__max_epochs=1)
    finish(start(config, run, before=PLAIN + at(STEP, 3, signal.SIGTERM), **options), 143)
    train(config, run, '--resume', before=PLAIN, **options)
    assert 'cannot begin within an epoch: this one begins anew' in max(run.glob('*/*.log')).read_text()
    assert losses(run)[-1]['iter'] == 13


@pytest.mark.slow
@pytest.mark.parametrize('kind', ['epoch', 'iter', 'iter-epochs'])
def test_with_another_batch_it_goes_on_with_the_next_image(kind, tmp_path):
    """From two processes that took four images a step, within the second epoch, to one that takes six."""
    config = write_config(tmp_path, kind)
    one, run = tmp_path / 'one', tmp_path / 'run'
    train_two(config, run, before=at(STEP, 5, signal.SIGTERM), code=143)
    step = int(last_checkpoint(run).stem.removeprefix('iter_'))
    epoch, place = divmod(step * 4, 60 if kind == 'iter' else 20)
    assert step == 6
    changes = dict(train_dataloader__batch_size=6, auto_scale_lr__base_batch_size=6)
    assert 'processes: 2 -> 1' in train(config, run, '--resume', code=2, **changes)
    train(config, run, '--resume', '--allow-resume-change', before=RECORD, env=dict(RECORD=str(one)), **changes)
    first = sorted((number, position) for number, position, _, _ in drawn(one))
    assert first[:6] == [(epoch, position) for position in range(place, place + 6)]


@pytest.mark.slow
@pytest.mark.parametrize('kind, saved', [('epoch', 'epoch_1'), ('iter', 'iter_8')])
def test_one_process_goes_on_with_the_images_and_crops_of_two(kind, saved, tmp_path):
    config = write_config(tmp_path, kind)
    two, one, run = tmp_path / 'two', tmp_path / 'one', tmp_path / 'run'
    train_two(config, run, before=RECORD, env=dict(RECORD=str(two)))
    last, = run.glob('epoch_3.pth' if kind == 'epoch' else 'iter_15.pth')
    for path in run.glob('*.pth'):
        if path.stem != saved:
            path.unlink()
    message = train(config, run, '--resume', code=2)
    assert 'processes: 2 -> 1' in message and 'optim_wrapper.accumulative_counts: 1 -> 2' in message
    train(config, run, '--resume', '--allow-resume-change', before=RECORD, env=dict(RECORD=str(one)))
    assert last.exists()
    first = 0 if kind == 'epoch' else 32  # places in the order that were seen before
    epochs = {1, 2} if kind == 'epoch' else {0}
    places = range(20) if kind == 'epoch' else range(first, 60)  # workers read ahead
    expected = {record for record in drawn(two) if record[0] in epochs and record[1] in places}
    assert len(expected) == (40 if kind == 'epoch' else 28)
    assert expected == {record for record in drawn(one) if record[0] in epochs and record[1] in places}
    assert min(record[1] for record in drawn(one)) == first
