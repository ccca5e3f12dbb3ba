"""Turns of the Runner and of others: what is timed, in which order, and the ratios."""
import itertools

import pytest
import torch
from mmengine.model import BaseModel
from mmengine.optim import OptimWrapper

from nepa_mm.analysis.cost.time_by_part import time_by_part
from nepa_mm.analysis.cost.training_step import TrainingStep
from nepa_mm.analysis.cost.turns import Finished, ReadyBatches, TurnsHook, plain_loop, take_turns


def iterations(hook: TurnsHook) -> int:
    """Iterations of a runner, each a tick of the hook's clock later, until the hook has had enough."""
    for count in itertools.count(1):
        hook.before_train_iter(None, 0)
        next(TICKS)
        try:
            hook.after_train_iter(None, 0)
        except Finished:
            return count


class Ticks:
    """A clock that shows how often it was told to go on."""

    def __init__(self) -> None:
        self.time = 0

    def __next__(self) -> None:
        self.time += 1

    def __call__(self) -> int:
        return self.time


TICKS = Ticks()


@pytest.mark.parametrize('apart, before', [(False, [0, 5, 10, 15]), (True, [0, 15, 15, 15])])
def test_turns_hold_whole_iterations_and_nothing_of_the_others(apart, before):
    seen, timed_before = [], []

    def other(name, ticks):
        def run(steps):
            seen.append((name, steps))
            if name == 'peer':
                timed_before.append(hook.seen - hook.warmup)  # steps of the Runner
            TICKS.time += ticks * steps
            return ticks * steps
        return run

    hook = TurnsHook(2, 5, 3, TICKS, lambda runner: {'bare': other('bare', 2), 'peer': other('peer', 4)}, apart=apart)
    assert iterations(hook) == 2 + 3 * 5
    assert hook.seconds == dict(runner=[5] * 3, bare=[10] * 3, peer=[20] * 3)
    # A warm-up of as many steps as the Runner's; after a peer's turn one step that is not timed
    assert timed_before == before
    assert [name for name, steps in seen if steps != 1] == ['bare', 'peer'] * 4
    assert seen[:3] == [('bare', 2), ('peer', 2), ('bare', 1)]
    assert len(hook.waited) == 15


def test_ready_batches():
    batch = dict(inputs=torch.zeros(4, 3, 2, 2))
    loader = ReadyBatches(batch, 4, 3)
    assert len(loader) == 3 and loader.batch_size == 4 and len(loader.dataset) == 12
    assert [found is batch for found in loader] == [True] * 3


class Model(BaseModel):
    """A model whose parts take a known time."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(1))

    def forward(self, inputs, mode):
        busy(0.004)
        return dict(loss=self.weight.sum() * inputs.sum())


def busy(seconds: float) -> None:
    import time
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        pass


def test_time_by_part_adds_up_and_leaves_no_trace():
    model = Model()
    optim_wrapper = OptimWrapper(torch.optim.SGD(model.parameters(), lr=1.), clip_grad=dict(max_norm=1.))
    parts = time_by_part(TrainingStep(model, optim_wrapper, dict(inputs=torch.ones(2)), [lambda: busy(0.002)]), 5)
    assert list(parts) == ['data', 'forward', 'backward', 'optimizer', 'EMA', 'other']
    assert parts['forward'] > 0.004 and parts['EMA'] > 0.002 and parts['other'] >= 0
    assert model.weight.item() == pytest.approx(1 - 5, abs=1e-4)  # five steps of the clipped gradient
    assert not {'_run_forward'} & vars(model).keys() and not {'backward', 'step', 'zero_grad'} & vars(optim_wrapper).keys()


def test_a_plain_loop_takes_the_steps_it_is_asked_for():
    assert plain_loop(lambda: next(TICKS), TICKS)(7) == 7


def test_ways_take_turns_of_which_the_first_warms_up():
    seen = []

    def way(name, ticks):
        def run():
            seen.append(name)
            TICKS.time += ticks
        return run

    assert take_turns(dict(a=way('a', 2), b=way('b', 3)), 2, TICKS) == dict(a=[2, 2], b=[3, 3])
    assert ''.join(seen) == 'abbaab'
