import threading
from collections import OrderedDict

import numpy as np
import pytest
import torch
from mmengine.logging import HistoryBuffer

from nepa_mm.checkpoints.storage.background import BackgroundSaves, HostCopy
from nepa_mm.errors import StorageError


def a_state(value: float) -> dict:
    weight = torch.full((3, 4), value)
    state = OrderedDict(
        weight=weight, tied=weight, row=weight[1], half=torch.full((5, ), value).bfloat16(), step=torch.tensor(value),
        empty=torch.empty(0, 3), column=torch.arange(12.).view(3, 4)[:, 1])
    state._metadata = {'': dict(version=2)}
    return dict(state_dict=state, optimizer=dict(param_groups=[dict(lr=value, params=[0])]), meta=dict(iter=3, wide=(1, weight)),
                message_hub=dict(loss=HistoryBuffer([1.], [1])))


def assert_holds(copied: dict, value: float) -> None:
    assert list(copied['state_dict']) == ['weight', 'tied', 'row', 'half', 'step', 'empty', 'column']
    expected = a_state(value)
    for name, tensor in copied['state_dict'].items():
        assert torch.equal(tensor, expected['state_dict'][name]) and tensor.dtype == expected['state_dict'][name].dtype
    assert copied['state_dict']['column'].stride() == (4, )
    assert copied['state_dict']._metadata == {'': dict(version=2)}
    assert copied['optimizer'] == expected['optimizer'] and copied['meta']['iter'] == 3
    assert copied['message_hub']['loss'].current() == 1


def test_a_copy_is_what_the_state_was():
    state = a_state(1.)
    copied = HostCopy().of(state)
    state['state_dict']['weight'].fill_(2.)
    state['state_dict']['half'].fill_(2.)
    state['optimizer']['param_groups'][0]['lr'] = 2.
    state['meta']['iter'] = 4
    state['message_hub']['loss'].update(2.)
    assert_holds(copied, 1.)


def test_a_copy_shares_the_memory_that_the_state_shares():
    copied = HostCopy().of(a_state(1.))
    places = {copied['state_dict'][name].untyped_storage().data_ptr() for name in ('weight', 'tied', 'row')}
    assert len(places | {copied['meta']['wide'][1].untyped_storage().data_ptr()}) == 1
    assert copied['state_dict']['weight'].untyped_storage().nbytes() == 48  # torch.save writes no more than that


def test_the_next_copy_takes_the_same_memory():
    copy = HostCopy()
    first = copy.of(a_state(1.))['state_dict']['weight'].data_ptr()
    memory = copy.memory
    assert copy.of(a_state(2.))['state_dict']['weight'].data_ptr() == first
    copy.of(dict(small=torch.ones(2)))
    assert copy.memory is memory
    assert torch.equal(copy.of(dict(large=torch.ones(1000)))['large'], torch.ones(1000))


@pytest.mark.parametrize('tensor', [
    torch.eye(3).to_sparse(), torch.ones(2, dtype=torch.complex64).conj(), torch.nn.Parameter(torch.ones(2))])
def test_other_tensors_stay_what_they_are(tensor):
    copied = HostCopy().of(dict(tensor=tensor))['tensor']
    assert copied is not tensor and copied.layout == tensor.layout
    assert torch.equal(copied.to_dense(), tensor.to_dense())


def test_arrays_and_texts_are_copied_too():
    array = np.ones(3)
    copied = HostCopy().of(dict(array=array, text='a'))
    array[:] = 2
    assert copied['array'].tolist() == [1, 1, 1] and copied['text'] == 'a'


def test_a_save_goes_on_beside_and_the_next_waits_for_it():
    saves, may_end, written, state = BackgroundSaves(), threading.Event(), [], dict(weight=torch.zeros(2))

    def write(copied: dict) -> None:
        assert may_end.wait(60)
        written.append(copied['weight'].tolist())

    saves.begin(write, state)
    saves.then(lambda: written.append('removed'))
    state['weight'] += 1
    saves.look()
    assert written == []
    threading.Timer(0.2, may_end.set).start()
    saves.begin(write, state)
    assert written[:2] == [[0, 0], 'removed']
    saves.wait()
    assert written == [[0, 0], 'removed', [1, 1]]


def test_what_follows_a_save_is_done_at_once_where_none_is_under_way():
    done = []
    BackgroundSaves().then(lambda: done.append(threading.current_thread()))
    assert done == [threading.current_thread()]


@pytest.mark.parametrize('method', ['look', 'wait', 'begin', 'then'])
def test_a_failed_write_is_raised_once_and_nothing_follows_it(method):
    saves, failed, followed = BackgroundSaves(), threading.Event(), []

    def write(copied: dict) -> None:
        failed.wait(60)
        raise StorageError('full', 'x.pth', 'make room')

    saves.begin(write, {})
    saves.then(lambda: followed.append(1))
    failed.set()
    saves.tasks[0].exception()
    arguments = dict(begin=(followed.append, {}), then=(lambda: followed.append(2), )).get(method, ())
    with pytest.raises(StorageError, match='full'):
        getattr(saves, method)(*arguments)
    assert not followed
    saves.wait()
    saves.begin(lambda copied: followed.append(3), {})
    saves.wait()
    assert followed == [3]
