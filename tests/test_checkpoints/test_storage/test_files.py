"""Files are read without running what is in them. Stock mmengine runs each of the hostile ones, or they would show nothing."""
import hashlib
import io
import json
import os
import pickle
import tarfile
import zipfile
from collections import OrderedDict
from contextlib import contextmanager
from functools import partial

import numpy as np
import pytest
import torch
from forks import run, start
from mmengine.logging import HistoryBuffer, MessageHub
from mmengine.runner import CheckpointLoader
from safetensors.torch import save_file

from nepa_mm.checkpoints.storage.files import existing_file, read_checkpoint, sha256
from nepa_mm.errors import CheckpointError

CODE = "open('ran', 'w').close()"  # in the working directory, which is a temporary one


class Call:
    """Pickles as a call of a function, which loading makes."""

    def __init__(self, function, *args, state=None):
        self.parts = (function, args) if state is None else (function, args, state)

    def __reduce__(self):
        return self.parts


def zipped(path, pickled):
    """What ``torch.save`` writes, with a pickle of one's own."""
    with zipfile.ZipFile(path, 'w') as file:
        file.writestr('archive/data.pkl', pickled)
        file.writestr('archive/version', '3\n')
        file.writestr('archive/byteorder', 'little')


def raw(path, pickled):
    with open(path, 'wb') as file:
        file.write(pickled)


def saved(thing):
    buffer = io.BytesIO()
    torch.save(thing, buffer)
    return buffer.getvalue()


def name(module, attribute):
    return f'c{module}\n{attribute}\n'.encode()


def text(string):
    return b'X' + len(string).to_bytes(4, 'little') + string.encode()


def attribute_of(thing, attribute):
    return name('builtins', 'getattr') + thing + text(attribute) + b'\x86R'


BUFFER = name('mmengine.logging.history_buffer', 'HistoryBuffer')
REBUILD = name('torch._tensor', '_rebuild_from_type_v2')  # which torch allows, and which calls its first argument
GET = attribute_of(attribute_of(attribute_of(BUFFER, '__init__'), '__builtins__'), 'get')
EXEC = REBUILD + b'(' + GET + attribute_of(GET, '__class__') + text('exec') + b'\x85NtR'
RUN_IT = REBUILD + b'(' + EXEC + attribute_of(b'N', '__class__') + text(CODE) + b'\x85NtR'
GETATTR_CHAIN = b'\x80\x02}' + text('state_dict') + RUN_IT + b's.'


def with_metadata(value):
    weights = OrderedDict(a=torch.zeros(1))
    weights._metadata = OrderedDict({'': dict(version=value)})
    return weights


def named_dict(value):
    result = OrderedDict()
    result.__name__ = value  # which pickles take along
    return result


def log_buffer(value):
    buffer = HistoryBuffer([1.], [1])
    buffer._statistics_methods = dict(mean=value)
    return buffer


def full(**changed):
    """A runner's checkpoint, in plain data."""
    return dict(dict(meta=dict(epoch=1), state_dict={'a': torch.zeros(1)}, optimizer=dict(state={}, param_groups=[]),
                     message_hub=dict(log_scalars={}), param_schedulers=[{}]), **changed)


RUN = Call(exec, CODE)
# How each file is written, and what the error says that it would run
HOSTILE = {
    'os.system': (lambda path: torch.save(full(state_dict={'a': Call(os.system, 'touch ran')}), path), 'posix.system'),
    'eval': (lambda path: torch.save(full(state_dict={'a': Call(eval, CODE)}), path), 'eval'),
    'exec': (lambda path: torch.save(full(state_dict={'a': RUN}), path), 'exec'),
    'all of it': (lambda path: torch.save(RUN, path), 'exec'),
    'bytes for pickle': (lambda path: torch.save({'a': Call(pickle.loads, pickle.dumps(RUN))}, path), 'pickle.loads'),
    'bytes for torch.load': (
        lambda path: torch.save({'a': Call(partial(torch.load, weights_only=False), Call(io.BytesIO, saved(RUN)))}, path),
        'functools.partial'),
    'bytes for a storage': (
        lambda path: torch.save({'a': Call(torch.storage._load_from_bytes, pickle.dumps(RUN))}, path),
        'torch.storage._load_from_bytes'),
    'getattr chain': (lambda path: zipped(path, GETATTR_CHAIN), 'getattr('),
    'optimizer': (lambda path: torch.save(full(optimizer=dict(state={0: RUN})), path), 'exec'),
    'message_hub': (lambda path: torch.save(full(message_hub=dict(log_scalars={'loss': RUN})), path), 'exec'),
    'meta': (lambda path: torch.save(full(meta=dict(epoch=RUN)), path), 'exec'),
    'key': (lambda path: torch.save({('a', RUN): 1}, path), 'exec'),
    'log buffer': (lambda path: torch.save(full(message_hub=log_buffer(RUN)), path), 'exec'),
    'array of objects': (lambda path: torch.save({'a': np.array([RUN])}, path), ''),
    '_metadata': (lambda path: torch.save(full(state_dict=with_metadata(RUN)), path), 'exec'),
    'tensor of a type': (
        lambda path: zipped(path, REBUILD + b'(' + name('builtins', 'exec') + b'N' + text(CODE) + b'\x85NtR.'), 'exec'),
    'before zip files': (
        lambda path: torch.save(full(meta=dict(a=RUN)), path, _use_new_zipfile_serialization=False), 'exec'),
    'protocol 0': (lambda path: raw(path, b"cbuiltins\nexec\n(S'" + CODE.replace("'", '"').encode() + b"'\ntR."), 'exec'),
    'protocol 0, INST': (lambda path: raw(path, b"(S'touch ran'\nios\nsystem\n."), ''),
    'protocol 0, OBJ': (lambda path: raw(path, b'(' + name('os', 'system') + text('touch ran') + b'o.'), 'os.system'),
    'protocol 2': (lambda path: raw(path, pickle.dumps(RUN, 2)), 'exec'),
    'protocol 2, zipped': (lambda path: zipped(path, pickle.dumps(RUN, 2)), 'exec'),
    'protocol 4': (lambda path: raw(path, pickle.dumps(RUN, 4)), ''),
    'protocol 5, zipped': (lambda path: zipped(path, pickle.dumps({'state_dict': RUN}, 5)), ''),
}


def refused(path, message=''):
    """The error of reading a file, which is one line that names it."""
    with pytest.raises(CheckpointError) as error:
        read_checkpoint(path)
    line = str(error.value)
    assert error.value.where == str(path) and '\n' not in line and message in line
    return line


@pytest.fixture(scope='module')
def run_by_mmengine(tmp_path_factory):
    """Which hostile files stock mmengine runs, in a process that does not import nepa_mm."""
    folder = tmp_path_factory.mktemp('hostile')
    for kind, (write, _) in HOSTILE.items():
        (folder / kind).mkdir()
        write(folder / kind / 'evil.pth')
    script = '''
import os, sys
from mmengine.runner.checkpoint import load_from_local
for folder in sys.argv[1:]:
    os.chdir(folder)
    try:
        load_from_local('evil.pth', 'cpu')
    except Exception:
        pass
assert not any(module.startswith('nepa_mm') for module in sys.modules)
'''
    run(folder, '-c', script, *(folder / kind for kind in HOSTILE), imported='hosts')
    return {kind for kind in HOSTILE if (folder / kind / 'ran').exists()}


@pytest.mark.parametrize('kind', HOSTILE)
def test_a_file_that_stock_mmengine_runs_is_refused(kind, run_by_mmengine, tmp_path, monkeypatch):
    assert kind in run_by_mmengine
    monkeypatch.chdir(tmp_path)
    write, culprit = HOSTILE[kind]
    write('evil.pth')
    line = refused('evil.pth', f'would run {culprit}' if culprit else '')
    assert not culprit or 'as it loads, which is no part of weights; nothing was run' in line
    assert os.listdir() == ['evil.pth']


@pytest.mark.parametrize('kind', ['array of objects', 'protocol 0, INST', 'protocol 4', 'torchscript', 'tar', 'page'])
def test_no_error_recommends_to_read_a_file_without_protection(kind, tmp_path):
    """torch's own errors do: "Re-running with `weights_only` set to `False` will likely succeed"."""
    path = tmp_path / 'a.pth'
    if kind == 'torchscript':
        torch.jit.save(torch.jit.script(torch.nn.Linear(2, 2)), path)
    elif kind in HOSTILE:
        HOSTILE[kind][0](path)
    else:
        path.write_bytes(bytes(5000) if kind == 'tar' else b'<!DOCTYPE html>')
    line = refused(path)
    assert 'weights_only' not in line and 'safe_globals' not in line, line


GETATTRS = [
    (HistoryBuffer, 'update'), (HistoryBuffer, '__init__'), (HistoryBuffer, '__dict__'), (torch.Tensor, 'min'),
    (OrderedDict, 'mean'), (named_dict('x' * 5000), 'min'), (named_dict('a\nb'), 'min'), ('a\nb', 'min'),
    (torch.zeros(3, 3), 'max'), (np.zeros((3, 3)), 'mean'), (b'1' * 10**4, 'mean')]


@pytest.mark.parametrize('owner, attribute', GETATTRS, ids=range(len(GETATTRS)))
def test_getattr_gives_the_statistics_of_log_buffers_alone(owner, attribute, tmp_path):
    torch.save({'a': Call(getattr, owner, attribute)}, tmp_path / 'a.pth')
    line = refused(tmp_path / 'a.pth', 'would run getattr(')
    assert len(line) < 1000


@contextmanager
def allowed_by_others(*things):
    """Torch has this context itself since 2.5."""
    before = list(torch.serialization.get_safe_globals())
    torch.serialization.add_safe_globals(list(things))
    yield
    torch.serialization.clear_safe_globals()
    torch.serialization.add_safe_globals(before)


def test_an_allow_list_of_others_opens_no_door(tmp_path, monkeypatch):
    """Advice for mmengine's checkpoints on the web is to allow getattr; which of two that go by its name wins is chance."""
    zipped(tmp_path / 'a.pth', GETATTR_CHAIN)
    allowed, load = [], torch.load

    def listening(*args, **kwargs):
        allowed.extend(torch.serialization.get_safe_globals())
        return load(*args, **kwargs)

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(torch, 'load', listening)
    with allowed_by_others(getattr, eval):
        with pytest.raises(CheckpointError):
            read_checkpoint('a.pth')
    assert getattr not in allowed and not os.path.exists('ran')


def test_addresses_of_other_kinds_allow_no_more(tmp_path, monkeypatch):
    """mmengine's loaders allow getattr itself, with which a file runs code in spite of weights_only."""
    allowed, load = [], torch.load

    def listening(*args, **kwargs):
        allowed.extend(torch.serialization.get_safe_globals())
        return load(*args, **kwargs)

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv('MMENGINE_HOME', str(tmp_path))
    monkeypatch.setattr(torch, 'load', listening)
    (tmp_path / 'open_mmlab.json').write_text('{"evil": "evil.pth"}')
    for kind in ('getattr chain', 'exec', 'protocol 4'):
        HOSTILE[kind][0]('evil.pth')
        with pytest.raises(CheckpointError) as error:
            CheckpointLoader.load_checkpoint('open-mmlab://evil')
        assert 'open-mmlab://evil' in str(error.value) and '\n' not in str(error.value)
        assert not os.path.exists('ran') and getattr not in allowed


def test_reading_leaves_the_allow_list_of_others_as_it_was(tmp_path):
    torch.save({'a': 1}, tmp_path / 'a.pth')
    with allowed_by_others(HistoryBuffer):
        before = set(torch.serialization.get_safe_globals())
        read_checkpoint(tmp_path / 'a.pth')
        assert set(torch.serialization.get_safe_globals()) == before


OVER_BYTES = {  # NumPy takes these for objects at an address, or reads outside the bytes: a crash, or worse
    'objects': (np.ndarray, ((1, ), 'O', b'A' * 8)),
    'objects of a dtype': (np.ndarray, ((1, ), Call(np.dtype, 'O'), b'A' * 8)),
    'objects in fields': (np.ndarray, ((1, ), Call(np.dtype, [('a', 'O')]), b'A' * 8)),
    'before the buffer': (np.ndarray, ((1, ), 'f8', b'A' * 8, -4096)),
}


@pytest.mark.parametrize('kind', OVER_BYTES)
def test_an_array_laid_over_bytes_is_refused(kind, tmp_path):
    function, args = OVER_BYTES[kind]
    torch.save({'a': Call(function, *args)}, tmp_path / 'a.pth')
    refused(tmp_path / 'a.pth')


FLOAT = Call(np.dtype, 'f8', False, True)
STATES = {  # of a kind of numbers: byte order, parts, names, fields, size, alignment, flags
    'objects in fields': (3, '<', None, ('a', ), {'a': (Call(np.dtype, 'O'), 0)}, 8, 1, 0),
    'fields outside': (3, '<', None, ('a', ), {'a': (FLOAT, 10**6)}, 8, 1, 0),
    'objects as parts': (3, '<', (Call(np.dtype, 'O'), (2, )), None, None, 16, 1, 0),
    'many parts': (3, '<', (FLOAT, (10**6, )), None, None, 8, 1, 0),  # whose minimum is looked for in memory of others
    'another size': (3, '<', None, None, None, 10**6, 1, 0),
    'all flags': (3, '<', None, None, None, -1, -1, 63),
}


@pytest.mark.parametrize('kind', STATES)
def test_numbers_are_of_the_kind_that_they_seem(kind, tmp_path):
    dtype = Call(np.dtype, 'f8', False, True, state=STATES[kind])
    reconstruct = np.zeros(1).__reduce__()[0]
    torch.save({'a': Call(reconstruct, np.ndarray, (0, ), b'b', state=(1, (1, ), dtype, False, b'A' * 8))}, tmp_path / 'a.pth')
    try:
        found = read_checkpoint(tmp_path / 'a.pth')['a'].dtype
    except CheckpointError:  # as well
        return
    assert (found.fields, found.subdtype, found.itemsize, found.flags) == (None, None, 8, np.dtype('f8').flags)
    assert np.dtype('f8').fields is None


def test_an_array_laid_over_bytes_does_not_crash_the_reader(tmp_path):
    torch.save({'a': Call(getattr, Call(np.ndarray, (1, ), 'O', b'A' * 8), 'min')}, tmp_path / 'a.pth')
    script = f"from nepa_mm.checkpoints.storage.files import read_checkpoint\nread_checkpoint({str(tmp_path / 'a.pth')!r})"
    code, printed = start(tmp_path, '-c', script)
    assert code == 1 and 'CheckpointError' in printed.splitlines()[-1], printed


@pytest.fixture
def log_methods():
    """The statistics of all log buffers, which mmengine keeps in one dict and takes those of a checkpoint into."""
    HistoryBuffer()  # fills it
    before = dict(HistoryBuffer._statistics_methods)
    yield before
    HistoryBuffer._statistics_methods.clear()
    HistoryBuffer._statistics_methods.update(before)


@pytest.mark.parametrize('state', [
    dict(statistics_methods=dict(mean=CODE, max=torch.Tensor, more=1)),
    dict(_statistics_methods=dict(mean=CODE)),
    dict(_log_history=CODE, _count_history=None, max_length=-1),
    dict(update=CODE, statistics=CODE, __class__=CODE),
    {1: 2},
])
def test_a_log_buffer_with_a_strange_state_changes_no_other(state, log_methods, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    state = {**HistoryBuffer([1., 3.], [1, 1]).__dict__, **state}
    zipped('a.pth', b'\x80\x02}' + text('a') + BUFFER + b')\x81' + pickle.dumps(state, 2)[2:-1] + b'bs.')
    try:
        buffer = read_checkpoint('a.pth')['a']
    except CheckpointError:  # as well
        buffer = HistoryBuffer()
    assert HistoryBuffer._statistics_methods == log_methods and os.listdir() == ['a.pth']
    for use in (lambda: buffer.statistics('mean'), lambda: buffer.update(1.), lambda: repr(buffer.data)):
        try:
            use()
        except Exception:
            continue
    assert os.listdir() == ['a.pth'] and HistoryBuffer([1., 3.], [1, 1]).statistics('mean') == 2


def test_lists_in_lists_neither_hang_nor_crash(tmp_path):
    """A list that holds another twice, which holds another twice, ...; and one that holds itself."""
    twice, itself = [1], []
    for _ in range(40):
        twice = [twice, twice]
    itself.append(itself)
    torch.save({'a': twice}, tmp_path / 'twice.pth')
    torch.save({'a': itself, 'b': {'c': itself}}, tmp_path / 'itself.pth')
    zipped(tmp_path / 'deep.pth', b'\x80\x02}' + text('a') + b']' * 100000 + b'a' * 99999 + b's.')
    script = '''
import signal, sys
from nepa_mm.checkpoints.storage.files import read_checkpoint
from nepa_mm.errors import CheckpointError
for path in sys.argv[1:]:
    signal.setitimer(signal.ITIMER_VIRTUAL, 5)
    try:
        print(type(read_checkpoint(path)))
    except CheckpointError as error:
        print(error)
'''
    paths = [tmp_path / f'{name}.pth' for name in ('twice', 'itself', 'deep')]
    printed = run(tmp_path, '-c', script, *paths)
    assert len(printed.strip().splitlines()) == 3, printed


def assert_same(found, expected):
    assert type(found) is type(expected)
    if isinstance(expected, dict):
        assert list(found) == list(expected)
        for key in expected:
            assert_same(found[key], expected[key])
    elif isinstance(expected, (list, tuple)):
        assert len(found) == len(expected)
        for one, other in zip(found, expected):
            assert_same(one, other)
    elif isinstance(expected, HistoryBuffer):
        assert_same((*found.data, found.max_length), (*expected.data, expected.max_length))
    elif isinstance(expected, torch.Tensor):
        assert found.dtype == expected.dtype and torch.equal(found, expected)
    elif isinstance(expected, (np.ndarray, np.generic)):
        assert found.dtype == expected.dtype and np.array_equal(found, expected, equal_nan=found.dtype.kind == 'f')
    else:
        assert found == expected


def of_a_training():
    """What mmengine's runner saves: weights, optimizer, schedule, logs, facts."""
    model = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.BatchNorm1d(4))
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    model(torch.randn(2, 3)).sum().backward()
    optimizer.step()
    hub = MessageHub('a training')
    for loss in (1.5, float('nan'), 0.25):
        hub.update_scalar('train/loss', loss, count=2)
    hub.update_scalar('train/lr', torch.tensor(1e-3))
    hub.update_info_dict(dict(iter=3, epoch=1, max_iters=np.int64(6), cfg='model = dict()\n', mask=np.array([True, False])))
    facts = dict(seed=7, epoch=1, iter=3, experiment_name='a', time='20251121', mmengine_version='0.10', CLASSES=('cat', 'dog'),
                 dataset_meta=dict(classes=['cat', 'dog'], palette=np.array([[1, 2, 3]]), mean=np.float32(0.5)), part=slice(0, 2))
    hub.log_scalars['train/empty'] = HistoryBuffer()
    arrays = [np.zeros((2, 3), kind) for kind in ('float64', 'float32', 'int64', 'int32', 'uint32', 'bool')]
    arrays += [np.zeros(0), np.zeros((0, 3), 'float32'), np.array(1.5), np.array('text'), np.float64(0.1)]
    return dict(meta=facts, state_dict=model.state_dict(), message_hub=hub.state_dict(), optimizer=optimizer.state_dict(),
                param_schedulers=[dict(base_values=[1e-3], last_step=np.int64(3))], more=arrays)


@pytest.mark.parametrize('zip_file', [True, False])
def test_the_checkpoint_of_a_training_is_read_as_it_is(zip_file, tmp_path):
    checkpoint = of_a_training()
    torch.save(checkpoint, tmp_path / 'epoch_1.pth', _use_new_zipfile_serialization=zip_file)
    read = read_checkpoint(tmp_path / 'epoch_1.pth')
    assert_same(read, checkpoint)
    assert read['state_dict']._metadata == checkpoint['state_dict']._metadata
    buffer = read['message_hub']['log_scalars']['train/loss']
    assert buffer.statistics('current') == 0.25 and buffer.statistics('max', 1) == 0.25


@pytest.mark.parametrize('here, there', [(b'numpy._core.', b'numpy.core.'), (b'builtins', b'__builtin__')])
def test_the_checkpoint_of_another_numpy_or_python_is_read(here, there, tmp_path):
    data = {'a': np.float64(0.5), 'b': np.arange(3.), 'c': HistoryBuffer([1., 2.], [1, 1])}
    zipped(tmp_path / 'a.pth', pickle.dumps(data, 2).replace(here, there))
    assert_same(read_checkpoint(tmp_path / 'a.pth'), data)


def test_tensors_go_to_the_device_asked_for(tmp_path):
    torch.save({'a': torch.ones(1)}, tmp_path / 'a.pth')
    save_file({'a': torch.ones(1)}, tmp_path / 'a.safetensors')
    assert read_checkpoint(tmp_path / 'a.pth', map_location='meta')['a'].is_meta
    assert read_checkpoint(tmp_path / 'a.safetensors', map_location='cpu') == dict(state_dict={'a': torch.ones(1)}, metadata={})


def cut(path, size):
    """Keep so many bytes of a file; a fraction of all, or if negative, all but so many."""
    content = path.read_bytes()
    path.write_bytes(content[:int(len(content) * size) if isinstance(size, float) else size])


@pytest.mark.parametrize('size', [1, 8, 30, 0.3, 0.5, 0.9, -1])
@pytest.mark.parametrize('kind', ['zip', 'before zip files', 'safetensors'])
def test_a_cut_file_is_refused(kind, size, tmp_path):
    path = tmp_path / ('a.safetensors' if kind == 'safetensors' else 'a.pth')
    weights = {f'layers.{i}.weight': torch.randn(20, 20) for i in range(5)}
    if kind == 'safetensors':
        save_file(weights, path)
    else:
        torch.save(weights, path, _use_new_zipfile_serialization=kind == 'zip')
    cut(path, size)
    refused(path, 'cannot be read as weights, it is cut or of another format (')


def safetensors_of(size, **header):
    """A safetensors file with a header that may lie about its ``size`` bytes."""
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, 'little') + text + bytes(size)


NO_WEIGHTS = {
    'shape.safetensors': safetensors_of(8, a=dict(dtype='F32', shape=[1000, 1000], data_offsets=[0, 8])),
    'overflow.safetensors': safetensors_of(8, a=dict(dtype='F32', shape=[2**62, 2**62], data_offsets=[0, 8])),
    'beyond.safetensors': safetensors_of(8, a=dict(dtype='F32', shape=[2**30], data_offsets=[0, 2**32])),
    'backwards.safetensors': safetensors_of(8, a=dict(dtype='F32', shape=[2], data_offsets=[8, 0])),
    'overlap.safetensors': safetensors_of(8, a=dict(dtype='F32', shape=[2], data_offsets=[0, 8]), b=dict(
        dtype='F32', shape=[2], data_offsets=[0, 8])),
    'page.pth': b'<!DOCTYPE html><html><body>404: Not Found</body></html>\n',
    'pointer.pth': b'version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n',
    'readme.pth': b'hello world\nand more\n',
    'object.pth': b'{"a": 1}',
    'zeros.pth': bytes(5000),
    'ones.pth': b'\xff' * 5000,
    'page.safetensors': b'<!DOCTYPE html><html><body>404: Not Found</body></html>\n',
    'zeros.safetensors': bytes(5000),
    'header.safetensors': (10**6).to_bytes(8, 'little') + b'{}',
    'huge.safetensors': (2**63).to_bytes(8, 'little') + b'{}',
    'brackets.safetensors': (10**5).to_bytes(8, 'little') + b'[' * 10**5,
}


@pytest.mark.parametrize('file', NO_WEIGHTS)
def test_a_file_of_another_kind_is_refused_with_a_reason(file, tmp_path):
    (tmp_path / file).write_bytes(NO_WEIGHTS[file])
    line = refused(tmp_path / file, 'cannot be read as weights, it is cut or of another format (')
    reason = line.partition('another format (')[2]
    assert len(reason.split()) > 2, f'no reason that a person understands: {reason}'


def test_a_tar_archive_is_not_unpacked(tmp_path, monkeypatch):
    """torch.load takes one for its oldest format and, before 2.6, unpacks 'storages' from it wherever its links lead."""
    monkeypatch.chdir(tmp_path)
    with tarfile.open('a.pth', 'w') as file:
        file.addfile(tarfile.TarInfo('storages'))
    refused('a.pth', 'of another format (a tar archive)')
    assert os.listdir() == ['a.pth']


def test_torchscript_and_other_zip_files_are_refused(tmp_path):
    torch.jit.save(torch.jit.script(torch.nn.Linear(2, 2)), tmp_path / 'a.pth')
    refused(tmp_path / 'a.pth', 'a TorchScript program')
    with zipfile.ZipFile(tmp_path / 'b.pth', 'w') as file:
        file.writestr('readme', 'text')
    refused(tmp_path / 'b.pth', 'cannot be read as weights')
    torch.save(torch.nn.Linear(2, 2), tmp_path / 'c.pth')
    refused(tmp_path / 'c.pth', 'would run torch.nn.modules.linear.Linear as it loads')


@pytest.mark.parametrize('thing, kind', [([1], 'list'), (torch.zeros(1), 'Tensor'), ('text', 'str'), (None, 'NoneType')])
def test_what_is_no_dict_is_refused(thing, kind, tmp_path):
    torch.save(thing, tmp_path / 'a.pth')
    refused(tmp_path / 'a.pth', f'holds a {kind}, not a dict of weights')


def test_missing_empty_and_odd_paths_are_refused(tmp_path):
    for file in ('empty.pth', 'empty.safetensors', 'empty.safetensors.index.json'):
        (tmp_path / file).touch()
        refused(tmp_path / file, 'it is empty (0 bytes)')
    refused(tmp_path, f'the address of a released checkpoint is hf:{tmp_path}')
    (tmp_path / 'dangling.pth').symlink_to(tmp_path / 'gone')
    os.mkfifo(tmp_path / 'pipe.pth')  # reading it would wait for ever
    for file in ('gone.pth', 'dangling.pth', 'pipe.pth', 'a\0b.pth', 'empty.pth/a.pth'):
        refused(tmp_path / file, 'there is no such checkpoint')
    for path in (tmp_path / ('a' * 300), '~nobody-of-this-name/a.pth'):
        refused(path)


def test_the_home_folder_and_links_are_followed(tmp_path, monkeypatch):
    monkeypatch.setenv('HOME', str(tmp_path))
    torch.save({'a': 1}, tmp_path / 'a.pth')
    (tmp_path / 'link.pth').symlink_to('a.pth')
    assert existing_file('~/a.pth') == tmp_path / 'a.pth'
    assert read_checkpoint('~/link.pth') == {'a': 1}


def test_digest_of_a_file(tmp_path):
    (tmp_path / 'a').write_bytes(bytes(range(256)) * 5000)  # more than one block
    assert sha256(tmp_path / 'a') == hashlib.sha256(bytes(range(256)) * 5000).hexdigest()
