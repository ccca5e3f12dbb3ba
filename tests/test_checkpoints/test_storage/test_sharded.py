"""Checkpoints that several processes write in pieces are whole or not there, and hold what one gathered file holds."""
import json
import os
import pickle
import re
import shutil
import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from forks import run_together
from safetensors.torch import load_file

from nepa_mm.checkpoints.convert import gather, mm_to_hf, publish
from nepa_mm.checkpoints.storage import sharded_files
from nepa_mm.checkpoints.storage.durable import check_whole, newest_whole, remove_temporaries
from nepa_mm.checkpoints.storage.files import read_checkpoint
from nepa_mm.checkpoints.storage.pickled import read_meta
from nepa_mm.checkpoints.storage.sharded_files import KEY, MANIFEST, Entry, Piece, read_tensor
from nepa_mm.errors import CheckpointError
from tiny import ROOT, TINY

pytestmark = pytest.mark.skipif(torch.__version__ < (2, 6), reason='FSDP2 needs torch 2.6')

SCRIPT = '''
import json, os, sys
from pathlib import Path
import torch, torch.distributed as dist, torch.distributed.checkpoint as dcp
from nepa_mm.checkpoints.storage import durable
from nepa_mm.checkpoints.storage.background import BackgroundSaves
from nepa_mm.checkpoints.storage.sharded_saves import write_sharded
from nepa_mm.engine import ForeachEMA, FullyShardedDataParallel
from nepa_mm.engine.parallel.pieces import whole
from nepa_mm.errors import StorageError
from nepa_mm.models import NEPA, NEPAViT

torch.set_num_threads(1)
dist.init_process_group('gloo')
rank, folder, said = dist.get_rank(), Path(sys.argv[1]), {}
torch.manual_seed(0)
model = NEPA(NEPAViT(**TINY), data_preprocessor=dict(mean=[127.5] * 3, std=[127.5] * 3))
average = ForeachEMA(model, momentum=0.3)
wrapped = FullyShardedDataParallel(model, **json.loads(sys.argv[2]))
wrapped.shard()
optimizer = torch.optim.AdamW(model.parameters())
for parameter in model.parameters():
    parameter.grad = torch.ones_like(parameter)
optimizer.step()
group = dist.new_group(backend='gloo')

def state(step):
    pieces = model.state_dict()
    return dict(meta=dict(iter=step, epoch=0), state_dict=pieces, optimizer=optimizer.state_dict(), message_hub=dict(a=[1, 2]),
                ema_state_dict={'steps': torch.tensor(1), **{f'module.{name}': value * 2 for name, value in pieces.items()}})

def refused(write, *parts):
    try:
        write(*parts)
    except StorageError as error:
        return error.line

gathered = whole(state(4))
if rank == 0:
    torch.save(gathered, folder / 'gathered.pth')
write_sharded(state(3), folder / 'iter_3.pth', group)
write_sharded(state(3), folder / 'iter_4.pth', group)
write_sharded(state(4), folder / 'iter_4.pth', group)  # in place of the other
saves = BackgroundSaves()
saves.begin(lambda copied: write_sharded(copied, folder / 'iter_8.pth', group), state(8))
with torch.no_grad():
    for parameter in model.parameters():
        parameter.zero_()
saves.wait()

if rank == 1:  # which has no room
    write_data = dcp.FileSystemWriter.write_data
    dcp.FileSystemWriter.write_data = lambda *args: os.close(-1)
said['full'] = refused(write_sharded, state(12), folder / 'iter_4.pth', group)
if rank == 1:
    dcp.FileSystemWriter.write_data = write_data
    is_whole, write_sharded.__globals__['is_whole'] = durable.is_whole, lambda *args: False
said['other'] = refused(write_sharded, state(12), folder / 'iter_4.pth', group)
(folder / f'said_{rank}.json').write_text(json.dumps(said))
dist.destroy_process_group()
'''


def write(folder: Path, processes: int, **settings) -> Path:
    (folder / 'script.py').write_text(f'TINY = {TINY}\n{SCRIPT}')
    run_together(processes, folder / 'script.py', folder, json.dumps(settings))
    return folder


@pytest.fixture(scope='module')
def written(tmp_path_factory):
    return write(tmp_path_factory.mktemp('written'), 3)


@pytest.fixture
def copy(written, tmp_path):
    return shutil.copytree(written, tmp_path / 'copy')


def assert_equal(one, two, where=''):
    if isinstance(one, torch.Tensor):
        assert one.dtype == two.dtype and torch.equal(one, two), where
    elif isinstance(one, (dict, list, tuple)):
        assert len(one) == len(two), where
        for key, value in one.items() if isinstance(one, dict) else enumerate(one):
            assert_equal(value, two[key], f'{where}.{key}')
    else:
        assert one == two, where


def test_pieces_hold_what_a_gathered_file_holds(written):
    gathered = read_checkpoint(written / 'gathered.pth')
    assert {path.name for path in written.glob('iter_4.pth/*')} == {
        MANIFEST, '.metadata', '__0_0.distcp', '__1_0.distcp', '__2_0.distcp'}
    for step in (4, 8):  # 8 was written while the weights changed
        check_whole(written / f'iter_{step}.pth')
        pieces = read_checkpoint(written / f'iter_{step}.pth')
        assert pieces['meta'].pop('iter') == step == read_meta(written / f'iter_{step}.pth')['iter']
        assert list(pieces['state_dict']) == list(gathered['state_dict'])
        assert_equal({**gathered, 'meta': dict(epoch=0)}, pieces)
    assert not list(written.glob('.*')) and not list(written.glob('*.replaced'))


@pytest.mark.slow
def test_groups_that_hold_the_same_write_it_once(written, tmp_path):
    write(tmp_path, 4, replicas=2)
    assert_equal(read_checkpoint(written / 'gathered.pth'), read_checkpoint(tmp_path / 'iter_4.pth'))
    sizes = [sum(path.stat().st_size for path in folder.glob('iter_4.pth/*.distcp')) for folder in (tmp_path, written)]
    assert sizes[0] < 1.1 * sizes[1]


def test_all_processes_hear_that_one_could_not_write(written):
    said = [json.loads((written / f'said_{rank}.json').read_text()) for rank in range(3)]
    for kind in ('full', 'other'):  # each looks for itself how much is free, which other programs change
        assert len({re.sub('[0-9,]+ are free', '', each[kind]) for each in said}) == 1
    assert 'it cannot be written: it needs ' in said[0]['full'] and f' | {written}/iter_4.pth | make room' in said[0]['full']
    assert 'it was written, but is not what was read back' in said[0]['other']


def damage(path: Path, kind: str) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    {'cut': lambda: path.write_bytes(content[:-10]), 'flip': lambda: path.write_bytes(content), 'missing': path.unlink}[kind]()


@pytest.mark.parametrize('kind', ['cut', 'flip', 'missing'])
@pytest.mark.parametrize('name', ['__1_0.distcp', '.metadata', MANIFEST])
def test_damage_is_found_and_the_newest_whole_one_is_another(name, kind, copy):
    damage(copy / 'iter_8.pth' / name, kind)
    warnings = []
    assert newest_whole([copy], warnings.append) == copy / 'iter_4.pth'
    warning, = warnings
    assert warning.startswith('iter_8.pth: ') and warning.endswith('resuming from iter_4.pth, the newest that is whole')
    assert name in warning or name == MANIFEST


def test_what_was_replaced_is_found_while_its_successor_is_not_there(copy):
    # Killed between the two renames
    os.rename(copy / 'iter_8.pth', copy / 'iter_8.pth.replaced')
    assert newest_whole([copy], pytest.fail) == copy / 'iter_8.pth.replaced'
    remove_temporaries(copy)
    assert (copy / 'iter_8.pth.replaced').exists()
    shutil.copytree(copy / 'iter_8.pth.replaced', copy / 'iter_8.pth')
    (copy / '.iter_9.pth.tmp').mkdir()
    assert newest_whole([copy], pytest.fail) == copy / 'iter_8.pth'
    remove_temporaries(copy)
    assert not (copy / 'iter_8.pth.replaced').exists() and not (copy / '.iter_9.pth.tmp').exists()


class Hostile:
    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self):
        return Path.touch, (self.marker, )


def test_no_pickle_in_a_folder_runs(copy, tmp_path):
    folder, marker = copy / 'iter_4.pth', tmp_path / 'ran'
    (folder / '.metadata').write_bytes(pickle.dumps(Hostile(marker)))
    assert_equal(read_checkpoint(copy / 'gathered.pth'), read_checkpoint(folder))
    torch.save(Hostile(marker), folder / MANIFEST)
    for read in (read_checkpoint, read_meta, check_whole):
        with pytest.raises(Exception, match='Path'):
            read(folder)
    assert not marker.exists()


def lie(entry: str):
    """A manifest whose first tensor is told otherwise."""
    def change(content: dict) -> None:
        keys, dtype, shape, ((file, begin, offsets, sizes), *others) = content['tensors'][0]
        told = dict(file=file, begin=begin, offsets=offsets, sizes=sizes, dtype=dtype, keys=keys, shape=shape)
        told.update({'outside': dict(file='../gathered.pth'), 'beyond': dict(begin=1 << 40), 'before': dict(begin=-4),
                     'dtype': dict(dtype='load'), 'place': dict(keys=('meta', 'iter')), 'shape': dict(shape=(10**6, 10**6)),
                     'offsets': dict(offsets=tuple(offset + 1 for offset in offsets))}[entry])
        piece = told['file'], told['begin'], told['offsets'], told['sizes']
        content['tensors'][0] = told['keys'], told['dtype'], told['shape'], [piece, *others]
        if entry == 'outside':
            content['files']['../gathered.pth'] = 1 << 30, 0
    return change


@pytest.mark.parametrize('entry', ['outside', 'beyond', 'before', 'dtype', 'place', 'shape', 'offsets'])
def test_a_manifest_that_lies_is_refused(entry, copy):
    path = copy / 'iter_4.pth' / MANIFEST
    checkpoint = torch.load(path, weights_only=True)
    lie(entry)(checkpoint[KEY])
    torch.save(checkpoint, path)
    with pytest.raises(CheckpointError, match='no manifest of a checkpoint in pieces'):
        read_checkpoint(copy / 'iter_4.pth')


def test_rows_are_read_and_nothing_else(tmp_path, monkeypatch):
    tensor = torch.arange(42.).view(7, 3, 2)
    ways = {'rows': [(0, slice(4)), (4, slice(4, 7))], 'columns': [(0, (slice(None), slice(1))), (1, (slice(None), slice(1, 3)))]}
    read = []

    def counting(path, mode):
        file = open(path, mode)
        return SimpleNamespace(seek=file.seek, readinto=lambda data: read.append(file.readinto(data)) or read[-1])

    monkeypatch.setattr(sharded_files, 'open', lambda *args: nullcontext(counting(*args)), raising=False)
    for way, parts in ways.items():
        pieces = []
        for offset, part in parts:
            (tmp_path / f'{way}{offset}').write_bytes(b'head' + tensor[part].contiguous().numpy().tobytes())
            offsets = (offset, 0, 0) if way == 'rows' else (0, offset, 0)
            pieces.append(Piece(f'{way}{offset}', 4, offsets, tuple(tensor[part].shape)))
        entry = Entry(('a', ), 'float32', (7, 3, 2), pieces)
        assert torch.equal(read_tensor(tmp_path, entry), tensor)
        for rows in (range(0), range(2), range(3, 6), range(7, 7), range(7)):
            read.clear()
            assert torch.equal(read_tensor(tmp_path, entry, rows), tensor[rows.start:rows.stop])
            assert sum(read) == 4 * tensor[rows.start:rows.stop].numel()


def test_one_file_of_all_pieces(written, tmp_path):
    line = gather(str(written / 'iter_4.pth'), tmp_path / 'all.pth')
    assert line.startswith(f'{tmp_path}/all.pth: all of {written}/iter_4.pth, ')
    check_whole(tmp_path / 'all.pth')
    one, other = (read_checkpoint(path) for path in (tmp_path / 'all.pth', written / 'gathered.pth'))
    assert_equal(other, one)
    assert one['state_dict']._metadata == other['state_dict']._metadata
    with pytest.raises(CheckpointError, match='no checkpoint in pieces'):
        gather(str(tmp_path / 'all.pth'), tmp_path / 'again.pth')
    with pytest.raises(CheckpointError, match='leave it out'):
        gather(str(written / 'iter_4.pth'), tmp_path / 'ema.pth', ema=True)


@pytest.mark.parametrize('ema', [False, True])
def test_weights_alone_of_pieces(ema, written, tmp_path):
    gathered = read_checkpoint(written / 'gathered.pth')
    raw = {name.removeprefix('module.'): value for name, value in gathered['ema_state_dict'].items() if name != 'steps'}
    gather(str(written / 'iter_4.pth'), tmp_path / 'some.safetensors', ema)
    assert_equal(gathered['state_dict'] if ema else raw, load_file(tmp_path / 'some.safetensors'))  # EMAHook exchanged them
    path = Path(publish(str(written / 'iter_4.pth'), tmp_path / 'published.pth', ema).split(': ')[0])
    assert_equal(gathered['state_dict'] if ema else raw, read_checkpoint(path)['state_dict'])
    for name in ('iter_4.pth', 'gathered.pth'):
        mm_to_hf(str(written / name), tmp_path / name, ema)
    assert_equal(*(load_file(tmp_path / name / 'model.safetensors') for name in ('iter_4.pth', 'gathered.pth')))


GATHERS = '''
import os, resource, sys
from pathlib import Path
import torch, torch.distributed as dist
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import Shard, distribute_tensor
from nepa_mm.checkpoints.convert import gather
from nepa_mm.checkpoints.storage.sharded_saves import write_sharded

folder = Path(sys.argv[1])
if not os.fork():  # a process of its own has the state in memory
    dist.init_process_group('gloo', init_method=f'file://{folder}/store', rank=0, world_size=1)
    mesh = init_device_mesh('cpu', (1, ))
    state = {f'{i}': distribute_tensor(torch.ones(1 << 20), mesh, [Shard(0)]) for i in range(64)}  # 4 MiB each
    write_sharded(dict(state_dict=state, meta={}), folder / 'iter_1.pth', dist.group.WORLD)
    write_sharded(dict(state_dict=dict(a=state['0']), meta={}), folder / 'small.pth', dist.group.WORLD)
    os._exit(0)
assert os.wait()[1] == 0
gather(str(folder / 'small.pth'), folder / 'one.pth')  # the memory that it takes anyway
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
gather(str(folder / 'iter_1.pth'), folder / 'all.pth')
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024)
'''


def test_gathering_takes_the_memory_of_few_tensors(tmp_path):
    run = subprocess.run([sys.executable, '-W', 'ignore', '-c', GATHERS, tmp_path], cwd=ROOT, text=True, capture_output=True,
                         check=True, env={**os.environ, 'OMP_NUM_THREADS': '1'})
    assert (tmp_path / 'all.pth').stat().st_size > 256 << 20
    assert float(run.stdout.splitlines()[-1]) < 40  # MiB, of 256 that it writes; files are read in pieces of 16
