"""Losses and gradients that are no numbers, in all ways that an update can be made."""
import copy
from itertools import count
from unittest.mock import Mock

import pytest
import torch
from mmengine.optim import OptimWrapper

from nepa_mm import NEPA, NEPAViT
from nepa_mm.checkpoints.storage.files import read_checkpoint
from nepa_mm.engine import DurableCheckpointHook, ReliableRunner, StopOnDivergenceHook
from nepa_mm.engine.hooks.divergence_hook import DIVERGED
from nepa_mm.engine.runner.reliable_runner import KEY
from nepa_mm.errors import ConfigError, DivergedError
from tiny import TINY, Images

NUMBERS = count()


class Spoiled(NEPA):
    """The pretraining algorithm, with a loss or a gradient that is spoiled from one of its batches on."""
    spoil, begin = None, None

    def loss(self, inputs, data_samples=None):
        losses = super().loss(inputs, data_samples)
        self.seen = getattr(self, 'seen', 0) + 1
        if self.seen < self.begin:
            return losses
        if self.spoil == 'nan':
            losses['loss'] = losses['loss'] * float('nan')
        elif self.spoil == 'inf':
            losses['loss'] = losses['loss'] + float('inf')
        elif self.spoil == 'inf without a gradient':
            losses['loss_beside'] = torch.tensor(float('inf'))
        else:
            factor = {'gradient': float('nan'), 'long gradient': 1e6, 'gradient beyond squares': 1e25}[self.spoil]
            self.backbone.patch_embed.bias.register_hook(lambda gradient: gradient * factor)
        return losses


def runner(folder, spoil, batch=7, wrapper='nepa_mm.Bf16OptimWrapper', clip=1., counts=1, limit=None, loop=None, **optimizer):
    torch.manual_seed(0)
    model = Spoiled(NEPAViT(**TINY), data_preprocessor=dict(mean=[127.5] * 3, std=[127.5] * 3))
    model.spoil, model.begin = spoil, batch
    dataset = Images()
    return ReliableRunner(
        model=model, work_dir=str(folder),
        train_dataloader=dict(
            batch_size=2, num_workers=0, drop_last=True, sampler=dict(type='DefaultSampler', shuffle=True), dataset=dataset,
            collate_fn=dict(type='default_collate')),
        train_cfg=loop or dict(type='nepa_mm.AccumulatingIterLoop', max_iters=8),
        optim_wrapper=dict(
            type=wrapper, optimizer=dict(type='AdamW', lr=1e-3, **optimizer), accumulative_counts=counts,
            clip_grad=clip and dict(max_norm=clip)),
        param_scheduler=dict(type='LinearLR', start_factor=0.1, by_epoch=False, end=8),
        custom_hooks=[
            dict(type='EMAHook', ema_type='nepa_mm.ForeachEMA', momentum=0.3),
            dict(type='nepa_mm.StopOnDivergenceHook', max_grad_norm=limit)],
        default_hooks=dict(checkpoint=dict(type='nepa_mm.DurableCheckpointHook', by_epoch=False, interval=1, max_keep_ckpts=1)),
        randomness=dict(seed=0), experiment_name=f'divergence-{next(NUMBERS)}', default_scope='mmpretrain')


def diverged(built):
    with pytest.raises(DivergedError) as caught:
        built.train()
    return str(caught.value)


def assert_same(one, two):
    one, two = read_checkpoint(one), read_checkpoint(two)
    for key in ('state_dict', 'ema_state_dict'):
        assert one[key].keys() == two[key].keys()
        assert all(torch.equal(one[key][name], two[key][name]) for name in one[key])
    states = [checkpoint['optimizer']['state'] for checkpoint in (one, two)]
    assert all(torch.equal(value, states[1][i][name]) for i, state in states[0].items() for name, value in state.items())
    assert one['param_schedulers'] == two['param_schedulers'] and one['meta']['iter'] == two['meta']['iter']


BF16, PLAIN = 'nepa_mm.Bf16OptimWrapper', 'OptimWrapper'


@pytest.mark.parametrize('spoil, what, settings', [
    ('nan', "loss 'loss' is nan", dict(wrapper=BF16, clip=1.)),
    ('nan', "loss 'loss' is nan", dict(wrapper=PLAIN, clip=None)),
    ('inf', "loss 'loss' is inf", dict(wrapper=BF16, clip=None)),
    ('inf', "loss 'loss' is inf", dict(wrapper=PLAIN, clip=1., counts=2)),
    ('inf without a gradient', "loss 'loss' is inf", dict(wrapper=BF16, clip=1., counts=3)),
    ('inf without a gradient', "loss 'loss' is inf", dict(wrapper=PLAIN, clip=None)),
    ('gradient', 'the gradient of backbone.patch_embed.bias is nan in norm', dict(wrapper=BF16, clip=1., fused=True)),
    ('gradient', 'the gradient of backbone.patch_embed.bias is nan in norm', dict(wrapper=PLAIN, clip=None, counts=2)),
    ('gradient beyond squares', 'the gradient of backbone.patch_embed.bias is inf in norm', dict(wrapper=PLAIN, clip=1.)),
    ('long gradient', ', above max_grad_norm=100.0', dict(wrapper=BF16, clip=1., limit=100.)),
    ('long gradient', ', above max_grad_norm=100.0', dict(wrapper=PLAIN, clip=None, limit=100., counts=2)),
])
def test_a_step_that_would_spoil_the_weights_is_not_taken(spoil, what, settings, tmp_path):
    counts = settings.get('counts', 1)
    built = runner(tmp_path, spoil, batch=7, **settings)
    said = diverged(built)
    last = -(-7 // counts) - 1  # the last good step
    assert said.startswith(f'step {last + 1} was not taken: ') and what in said
    assert_same(tmp_path / f'iter_{last}.pth', tmp_path / f'diverged_iter_{last}.pth')
    images = [f'image {index}' for index in built.train_dataloader.sampler.indices(0, last * 2 * counts, (last + 1) * 2 * counts)]
    assert f' | images {", ".join(images)} | ' in said


@pytest.mark.parametrize('loop', [
    dict(type='IterBasedTrainLoop', max_iters=12), dict(type='EpochBasedTrainLoop', max_epochs=1)])
def test_a_step_of_several_batches_in_loops_of_mmengine_names_the_images_of_all(loop, tmp_path):
    built = runner(tmp_path, 'nan', batch=6, wrapper=PLAIN, counts=5, loop=loop)  # the epochs have 12 batches
    said = diverged(built)
    images = [f'image {index}' for index in built.train_dataloader.sampler.indices(0, 10, 20)]
    assert said.startswith("step 10 was not taken: loss 'loss' is nan | images ") and all(image in said for image in images[:8])
    assert (tmp_path / 'diverged_iter_9.txt').read_text().splitlines() == images


def checkpoint_hook(built):
    return next(hook for hook in built.hooks if isinstance(hook, DurableCheckpointHook))


@pytest.fixture(scope='module')
def good(tmp_path_factory):
    """A healthy training with all of its checkpoints."""
    folder = tmp_path_factory.mktemp('good')
    built = runner(folder, 'nan', batch=100, fused=True)
    checkpoint_hook(built).max_keep_ckpts = -1
    built.train()
    return folder


@pytest.mark.parametrize('spoil', ['nan', 'inf without a gradient', 'gradient'])
@pytest.mark.parametrize('batch', [3, 7, 8])  # read in a later step, and before the last step is saved
@pytest.mark.parametrize('interval', [100, 4, 1])
def test_what_is_read_late_spoils_no_weight(spoil, batch, interval, good, tmp_path, monkeypatch):
    """The logic of a GPU, with an optimizer of the CPU that knows found_inf; the reading itself is not waited for there."""
    monkeypatch.setattr(StopOnDivergenceHook, 'reads_late', lambda self, bad: True)
    monkeypatch.setattr(torch.cuda, 'Event', lambda: Mock())
    built = runner(tmp_path, spoil, batch=batch, fused=True)
    checkpoint_hook(built).interval = interval
    said = diverged(built)
    assert said.startswith(f'step {batch} was not taken: ')
    stopped = read_checkpoint(tmp_path / f'diverged_iter_{batch - 1}.pth')
    assert built.iter <= batch + 1  # two steps later at most, counted from 0
    images = [f'image {index}' for index in built.train_dataloader.sampler.indices(0, 2 * batch - 2, 2 * batch)]
    assert f' | images {", ".join(images)} | ' in said and stopped['meta'][KEY]['place']['images'] == 2 * batch - 2
    record = stopped['meta'][DIVERGED]
    assert record['first'] == batch and record['ranks'] == [0] and len(record['losses'][0]) == 1
    expected = read_checkpoint(good / f'iter_{batch - 1}.pth')
    raw, expected_raw = stopped['ema_state_dict'], expected['ema_state_dict']  # mmengine saves the average as state_dict
    assert all(torch.equal(raw[name], value) for name, value in expected_raw.items() if name.startswith('module.'))
    for i, state in expected['optimizer']['state'].items():
        assert all(torch.equal(value, stopped['optimizer']['state'][i][name]) for name, value in state.items())
    kept = list(tmp_path.glob('iter_*.pth'))
    assert len(kept) == (batch > interval) and all(read_checkpoint(path)['meta']['iter'] < batch for path in kept)


def test_a_long_gradient_without_a_limit_goes_on(tmp_path):
    runner(tmp_path, 'long gradient').train()
    assert (tmp_path / 'iter_8.pth').exists() and not list(tmp_path.glob('diverged*'))


def test_images_that_are_too_many_for_a_line_are_in_a_file(tmp_path):
    said = diverged(runner(tmp_path, 'nan', counts=6))
    images = (tmp_path / 'diverged_iter_1.txt').read_text().splitlines()
    assert len(set(images)) == 12
    assert f' | images {", ".join(images[:8])} and 4 more in {tmp_path}/diverged_iter_1.txt | ' in said


@pytest.mark.parametrize('limit', [0, -1, float('nan')])
def test_a_limit_that_is_no_norm_is_refused(limit):
    with pytest.raises(ConfigError, match='max_grad_norm'):
        StopOnDivergenceHook(max_grad_norm=limit)


def plain_runner():
    """What the hook asks a runner for before a training."""
    model = torch.nn.Sequential(torch.nn.Linear(5, 7), torch.nn.GELU(), torch.nn.Linear(7, 3))
    model.parse_losses = lambda losses: (losses['loss'], losses)
    wrapper = OptimWrapper(torch.optim.SGD(model.parameters(), lr=0.1), clip_grad=dict(max_norm=1.))
    return type('R', (), dict(model=model, optim_wrapper=wrapper, iter=0))()


@pytest.mark.parametrize('scale', [1e-3, 1., 1e3, 1e15])
@pytest.mark.parametrize('norm_type', [2., 1., float('inf'), 'inf'])  # the last as a config may write it
def test_clipping_is_torch_s_to_the_bit(scale, norm_type):
    torch.manual_seed(0)
    made = plain_runner()
    hook = StopOnDivergenceHook()
    hook.before_train(made)
    theirs = copy.deepcopy(made.model)
    for model in (made.model, theirs):
        torch.manual_seed(1)
        model.parse_losses(dict(loss=torch.ones(())))
        for parameter in model.parameters():
            parameter.grad = torch.randn_like(parameter) * scale
    norm = made.optim_wrapper.clip_func(list(made.model.parameters()), max_norm=0.7, norm_type=norm_type)
    expected = torch.nn.utils.clip_grad_norm_(theirs.parameters(), max_norm=0.7, norm_type=norm_type)
    assert torch.equal(norm, expected)
    for ours, other in zip(made.model.parameters(), theirs.parameters()):
        assert torch.equal(ours.grad, other.grad)
