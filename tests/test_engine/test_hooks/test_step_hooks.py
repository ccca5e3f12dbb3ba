import math
from types import SimpleNamespace

import pytest
import torch
from mmengine.optim import CosineAnnealingLR, CosineAnnealingParamScheduler, OptimWrapper
from mmengine.registry import OPTIM_WRAPPER_CONSTRUCTORS
from torch import nn

from nepa_mm import NEPA, NEPAViT
from nepa_mm.engine import KeepZerosHook, ReliableRunner
from tiny import TINY, Images

STEPS = 20
OURS = dict(constructor='nepa_mm.LayerDecayOptimWrapperConstructor')
HOSTS = dict(constructor='DefaultOptimWrapperConstructor', paramwise_cfg=dict(norm_decay_mult=0., flat_decay_mult=0.))


def dino(step: int) -> float:
    """Weight decay of DINO and iBOT at a step, from 0.04 to 0.4 (DINO's ``cosine_scheduler``)."""
    return 0.4 + 0.5 * (0.04 - 0.4) * (1 + math.cos(math.pi * step / STEPS))


def built(constructor, paramwise_cfg=None):
    model = NEPA(NEPAViT(**TINY, qk_norm='affine'))
    cfg = dict(type='OptimWrapper', optimizer=dict(type='AdamW', lr=1e-3, weight_decay=0.04))
    wrapper = OPTIM_WRAPPER_CONSTRUCTORS.build(dict(
        type=constructor, optim_wrapper_cfg=cfg, paramwise_cfg=paramwise_cfg))(model)
    return wrapper, CosineAnnealingParamScheduler(wrapper, 'weight_decay', eta_min=0.4, end=STEPS, by_epoch=False)


@pytest.mark.parametrize('settings', [OURS, HOSTS], ids=['ours', 'hosts'])
def test_decay_rises_as_in_dino_and_biases_and_norms_take_none_also_after_resume(settings):
    wrapper, scheduler = built(**settings)
    hook, runner = KeepZerosHook(), SimpleNamespace(param_schedulers=[scheduler])
    hook.before_train(runner)
    for step in range(STEPS):
        if step == 7:
            states = wrapper.state_dict(), scheduler.state_dict()
            wrapper, scheduler = built(**settings)
            wrapper.load_state_dict(states[0])
            scheduler.load_state_dict(states[1])
            runner = SimpleNamespace(param_schedulers=dict(optimizer=[scheduler]))
            hook.before_train(runner)
        decays = {group['weight_decay'] for group in wrapper.optimizer.param_groups if group['params'][0].ndim > 1}
        assert list(decays) == pytest.approx([dino(step)] * len(decays), rel=1e-9)
        assert {group['weight_decay'] for group in wrapper.optimizer.param_groups if group['params'][0].ndim <= 1} == {0.}
        wrapper.step()
        scheduler.step()
        hook.after_train_iter(runner, step)


def groups(key, *values):
    made = [dict(params=[nn.Parameter(torch.zeros(1))], **{key: value}) for value in values]
    return OptimWrapper(torch.optim.SGD(made, **{'lr': 0.1, key: values[0]}))


def after(wrapper, scheduler, key):
    """Values after two more steps."""
    for _ in range(2):
        wrapper.step()
        scheduler.step()
        KeepZerosHook().after_train_epoch(SimpleNamespace(param_schedulers=[scheduler]))
    return [group[key] for group in wrapper.optimizer.param_groups]


def test_what_does_not_learn_stays_so():
    wrapper = groups('lr', 0.1, 0.)
    assert after(wrapper, CosineAnnealingLR(wrapper, eta_min=0.02, T_max=2), 'lr') == pytest.approx([0.02, 0])


def test_where_all_begin_at_zero_the_schedule_is_for_all():
    wrapper = groups('weight_decay', 0., 0.)
    scheduler = CosineAnnealingParamScheduler(wrapper, 'weight_decay', eta_min=0.4, T_max=2)
    assert after(wrapper, scheduler, 'weight_decay') == pytest.approx([0.4, 0.4])


def test_a_training_has_it_and_resumes_so(tmp_path):
    def train(name, **kwargs):
        runner = ReliableRunner(
            NEPA(NEPAViT(**TINY)), str(tmp_path / name), experiment_name=f'{tmp_path.name}{name}', **kwargs,
            train_dataloader=dict(batch_size=2, num_workers=0, sampler=dict(type='InfiniteSampler'), dataset=Images(),
                                  collate_fn=dict(type='default_collate')),
            train_cfg=dict(by_epoch=False, max_iters=4),
            optim_wrapper=dict(optimizer=dict(type='AdamW', lr=1e-3, weight_decay=0.04), **HOSTS),
            param_scheduler=dict(type='CosineAnnealingParamScheduler', param_name='weight_decay', eta_min=0.4, end=STEPS,
                                 by_epoch=False),
            default_hooks=dict(checkpoint=dict(type='CheckpointHook', by_epoch=False, interval=2)), randomness=dict(seed=0))
        runner.train()
        return {round(group['weight_decay'], 9) for group in runner.optim_wrapper.optimizer.param_groups}

    assert train('whole') == {0., round(dino(4), 9)}
    assert train('resumed', resume=True, load_from=str(tmp_path / 'whole/iter_2.pth')) == {0., round(dino(4), 9)}
