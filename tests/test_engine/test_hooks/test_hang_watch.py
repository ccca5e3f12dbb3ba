"""Of two processes of which one hangs, the other says which, by what they have told each other."""
import json
import threading
import time
from types import SimpleNamespace

import pytest
import torch.distributed as dist

from nepa_mm.engine.hooks import hang_watch
from nepa_mm.engine.hooks.hang_watch import HangWatchHook

GROUP = ['0', 'default_pg']


@pytest.fixture
def waits(monkeypatch):
    """What the flight recorder says: the last of the list."""
    said = [None]
    monkeypatch.setattr(hang_watch, 'waiting_in', lambda: said[-1])
    return said


def watch(store, rank, step, processes=2):
    """A hook in the middle of a training."""
    hook = HangWatchHook()
    vars(hook).update(
        runner=SimpleNamespace(iter=step - 1, logger=SimpleNamespace(error=lambda line: None)), store=store, rank=rank,
        world_size=processes, timeout=8., tick=0.02, beat=0, waits=None, since=time.monotonic(), has_said=False, has_failed=False,
        main=threading.get_ident())
    return hook


def reduction(number):
    return dict(name='all_reduce', group=GROUP, number=number)


@pytest.mark.parametrize('theirs, beats, said', [
    (None, True, 'step 4, all_reduce 37 waits for process 1, which is in step 4 at '),
    (None, False, 'step 4, all_reduce 37 waits for process 1, which was last heard of in step 4 at '),
    (reduction(36), True, 'step 4, all_reduce 37 waits for process 1, which waits in all_reduce 36 of step 4'),
    (dict(reduction(36), name='gather'), True, 'step 4, all_reduce 37 waits for process 1, which waits in gather 36 of step 4'),
    (reduction(37), True, 'step 4, all_reduce 37 waits, and all processes are in it')])
def test_the_one_that_is_behind(theirs, beats, said, waits, monkeypatch):
    store = dist.HashStore()
    hook, other = watch(store, 0, 4), watch(store, 1, 4)
    waits.append(theirs)
    other.tell()
    monkeypatch.setattr('time.sleep', lambda seconds: other.tell() if beats else None)
    hook.waits = reduction(37)
    assert hook.report().startswith(said)


def test_of_processes_that_all_gave_up_the_one_in_an_earlier_collective_is_behind(waits):
    store = dist.HashStore()
    hooks = [watch(store, rank, 4, processes=3) for rank in range(3)]
    for hook, number in zip(hooks, (37, 37, 36)):
        hook.waits, hook.has_failed = reduction(number), True
        hook.tell()
    assert hooks[0].report().startswith('step 4, all_reduce 37 waits for process 2, which ')


def test_of_several_collectives_at_once_the_one_that_is_in_none_is_the_cause(waits, monkeypatch):
    store = dist.HashStore()
    hook, other, slow = (watch(store, rank, 4, processes=3) for rank in range(3))

    def tell(_=None):
        for each, number in ((other, 36), (slow, None)):
            waits.append(number and reduction(number))
            each.tell()
        waits.append(reduction(37))

    tell()
    monkeypatch.setattr('time.sleep', tell)
    hook.waits = reduction(37)
    said = hook.report()
    assert said.startswith('step 4, all_reduce 37 waits for process 2, which is in step 4 at ') and 'process 1' not in said


def test_without_a_flight_recorder_the_silent_one_is_behind(waits):
    store = dist.HashStore()
    hook, other = watch(store, 0, 4), watch(store, 1, 3)
    other.tell()
    assert hook.report().startswith('step 4 waits for process 1, which was last heard of in step 3 at ')


def test_before_nccl_gives_up_word_is_left_and_taken_back_if_it_goes_on(waits, tmp_path, monkeypatch):
    word = tmp_path / 'error.json'
    monkeypatch.setenv('TORCHELASTIC_ERROR_FILE', str(word))
    store = dist.HashStore()
    hook, other = watch(store, 0, 4), watch(store, 1, 4)
    other.tell()
    waits.append(reduction(37))
    hook.tell()
    hook.look()
    assert not word.exists()  # it has just begun to wait
    hook.since -= 7.95
    hook.look()
    said = json.loads(word.read_text())
    assert said['exit_code'] == 7 and said['message'].startswith(
        'nepa_mm: error: another process of the training hangs (step 4, all_reduce 37 waits for process 1, ')
    waits.append(None)
    hook.tell()
    hook.look()
    assert not word.exists()
