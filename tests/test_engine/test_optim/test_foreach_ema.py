import copy

import pytest
import torch
from mmengine.hooks import EMAHook
from mmengine.model import ExponentialMovingAverage
from mmengine.registry import MODELS

from nepa_mm.engine import ForeachEMA


def net():
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(5, 7), torch.nn.BatchNorm1d(7), torch.nn.Linear(7, 3))
    model[2].weight.requires_grad_(False)
    model.register_parameter('counts', torch.nn.Parameter(torch.arange(3), requires_grad=False))  # no floating point
    return model


@pytest.mark.parametrize('kwargs', [dict(), dict(interval=2), dict(update_buffers=True), dict(device=torch.device('cpu'))])
def test_equals_mmengine_s_average_through_a_resumed_run(kwargs):
    model = net()
    averages = [cls(model, momentum=0.1, **kwargs) for cls in (ForeachEMA, ExponentialMovingAverage)]
    for step in range(8):
        if step == 4:  # a resumed run builds them again
            states = [copy.deepcopy(average.state_dict()) for average in averages]
            averages = [cls(net(), momentum=0.1, **kwargs) for cls in (ForeachEMA, ExponentialMovingAverage)]
            for average, state in zip(averages, states):
                average.load_state_dict(state, strict=True)
        model(torch.randn(4, 5))  # moves the buffers
        for parameter in model.parameters():
            if parameter.is_floating_point():
                parameter.data += torch.randn_like(parameter)
        for average in averages:
            average.update_parameters(model)
        ours, stock = (average.state_dict() for average in averages)
        assert list(ours) == list(stock) and ours['steps'] == step + 1
        for name in ours:
            torch.testing.assert_close(ours[name], stock[name], atol=0, rtol=1.2e-7, msg=name)  # 1 ulp of float32
    assert not torch.equal(ours['module.0.weight'], model[0].weight)


def test_the_hook_builds_it_by_name_and_a_step_takes_one_operation():
    hook = EMAHook(ema_type='nepa_mm.ForeachEMA', momentum=0.1)
    average = MODELS.build(hook.ema_cfg, default_args=dict(model=net()))
    assert type(average) is ForeachEMA
    average.update_parameters(net())
    with torch.profiler.profile() as profile:
        average.update_parameters(net())
    names = {event.key: event.count for event in profile.key_averages()}
    assert names['aten::_foreach_lerp_'] == 1 and 'aten::item' not in names and 'aten::_local_scalar_dense' not in names


def test_another_model_is_refused():
    average = ForeachEMA(net(), momentum=0.1)
    average.update_parameters(net())
    with pytest.raises(ValueError, match='argument 2 is shorter'):
        average.update_parameters(net()[:2])
