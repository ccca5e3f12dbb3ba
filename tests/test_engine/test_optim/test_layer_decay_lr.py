import json

import pytest
import torch
from mmengine.optim import OptimWrapper

from nepa_mm.engine import LayerDecayCosineLR
from nepa_mm.engine.optim.layer_decay import layer_decay_factor
from nepa_mm.errors import ConfigError
from nepa_mm.registry import PARAM_SCHEDULERS
from tiny import GOLDEN, needs_golden

SCHEDULES = {
    'llrd_cosine llrd=0.35->1.0': dict(decay=0.35, decay_end=1.),
    'llrd_cosine llrd=0.65 fixed': dict(decay=0.65),
    'llrd_cosine_warmup llrd=0.65': dict(decay=0.65, layerwise_warmup=True),
}


def optimizer(depths=(0, 1, 6, 12), rate=1., lr=1.):
    groups = [dict(params=[torch.nn.Parameter(torch.zeros(1))], lr=lr, layer_depth=d, layer_decay_rate=rate) for d in depths]
    return OptimWrapper(torch.optim.AdamW(groups, lr=lr))


def rates(wrapper):
    return [group['lr'] for group in wrapper.optimizer.param_groups]


@needs_golden
@pytest.mark.parametrize('name', SCHEDULES)
def test_equals_the_release_at_every_listed_step_also_after_resume(name):
    expected = json.loads((GOLDEN / 'llrd_schedules.json').read_text())[name]
    settings = dict(end=expected['total_steps'], warmup=expected['warmup_steps'], by_epoch=False, **SCHEDULES[name])
    wrapper = optimizer(expected['llrd_scale'])
    scheduler = LayerDecayCosineLR(wrapper, **settings)
    for step in range(100):
        if step == 47:  # as a resumed run does
            state, groups = scheduler.state_dict(), wrapper.state_dict()
            wrapper = optimizer(expected['llrd_scale'])
            scheduler = LayerDecayCosineLR(wrapper, **settings)
            scheduler.load_state_dict(state)
            wrapper.load_state_dict(groups)
        if str(step) in expected['lr_factor_at_step']:
            assert rates(wrapper) == pytest.approx(expected['lr_factor_at_step'][str(step)], abs=1e-9, rel=0), step
        wrapper.step()
        scheduler.step()


def test_linear_rise_of_the_decay():
    # Half way, the decay is half way; warm-up over, the cosine of half of the rest
    assert layer_decay_factor(50, 3, 100, 0, 0.35, decay_end=1., decay_anneal='linear') == pytest.approx(0.675**3 * 0.5)
    assert layer_decay_factor(0, 3, 100, 0, 0.35, decay_end=1., decay_anneal='linear') == pytest.approx(0.35**3)
    assert layer_decay_factor(99, 12, 100, 0, 0.35, decay_end=1., decay_anneal='linear') / layer_decay_factor(
        99, 0, 100, 0, 0.35) == pytest.approx(0.9935**12)


def test_a_later_begin_still_ends_at_zero():
    wrapper = optimizer()
    scheduler = LayerDecayCosineLR(wrapper, decay=0.5, begin=50, end=100, warmup=10, by_epoch=False)
    seen = []
    for _ in range(100):
        seen.append(rates(wrapper)[1])
        wrapper.step()
        scheduler.step()
    assert seen[:50] == [1.] * 50 and seen[50] == 0 and seen[60] == pytest.approx(0.5) and seen[99] < 1e-3


def test_epochs_become_iterations():
    wrapper = optimizer(lr=2.)
    scheduler = PARAM_SCHEDULERS.build(
        dict(type='LayerDecayCosineLR', decay=0.5, end=10, warmup=2, by_epoch=True, convert_to_iter_based=True),
        default_args=dict(optimizer=wrapper, epoch_length=5))
    for _ in range(5):
        wrapper.step()
        scheduler.step()
    assert not scheduler.by_epoch
    assert rates(wrapper) == pytest.approx([2 * 0.5 * 0.5**depth for depth in (0, 1, 6, 12)])


def test_a_long_warmup_is_refused_in_the_unit_of_the_config():
    with pytest.raises(ConfigError, match=r'^12 is not in \[0, 10\].* \| warmup'):
        PARAM_SCHEDULERS.build(
            dict(type='LayerDecayCosineLR', decay=0.5, end=10, warmup=12, by_epoch=True, convert_to_iter_based=True),
            default_args=dict(optimizer=optimizer(), epoch_length=5))


def test_groups_that_decay_already_are_refused():
    with pytest.raises(ConfigError, match=r'not of 0.65 \| optim_wrapper.constructor \| .* leave layer_decay_rate at 1'):
        LayerDecayCosineLR(optimizer(rate=0.65), decay=0.65, end=10)
    plain = OptimWrapper(torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.))
    with pytest.raises(ConfigError, match=r"optim_wrapper.constructor \| set 'nepa_mm.LayerDecayOptimWrapperConstructor'"):
        LayerDecayCosineLR(plain, decay=0.65, end=10)


@pytest.mark.parametrize('settings, message', [
    (dict(decay_anneal='step'), r"'step' is unknown \| decay_anneal \| choose from"),
    (dict(warmup=11), r'11 is not in \[0, 10\].* \| warmup'),
    (dict(decay=0.), r'0.0 is not in \(0, 1\] \| decay'),
    (dict(decay=1.5), r'1.5 is not in \(0, 1\] \| decay'),
    (dict(decay_end=1.1), r'1.1 is not in \(0, 1\] \| decay_end'),
])
def test_bad_settings(settings, message):
    with pytest.raises(ConfigError, match=message):
        LayerDecayCosineLR(optimizer(), **{'decay': 0.65, 'end': 10, **settings})
