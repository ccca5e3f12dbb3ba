import copy
from itertools import count

import pytest
import torch
from mmengine.config import Config
from mmengine.model import BaseModel
from mmengine.optim import OptimWrapper
from mmengine.runner import Runner
from mmpretrain.structures import DataSample

from nepa_mm import NEPA, NEPAViT
from nepa_mm.engine import LayerDecayCosineLR
from nepa_mm.engine.loops.effective_batch import StepLoader, accumulation, warmup_iters
from nepa_mm.errors import ConfigError
from tiny import TINY

NUMBERS = count()
IMAGES = torch.randint(0, 256, (24, 3, 28, 28), generator=torch.Generator().manual_seed(1), dtype=torch.uint8)


class Images(torch.utils.data.Dataset):
    """The first so many images; remembers what was asked for."""
    metainfo = dict()

    def __init__(self, size):
        self.size, self.asked = size, []

    def __len__(self):
        return self.size

    def __getitem__(self, index):
        self.asked.append(index)
        return dict(inputs=IMAGES[index], data_samples=DataSample())


def model():
    torch.manual_seed(0)
    backbone = NEPAViT(**TINY, rope=dict(rescale=None), layer_scale_init_value=1.)
    return NEPA(backbone, data_preprocessor=dict(mean=[127.5] * 3, std=[127.5] * 3))


def runner(work_dir, batch_size, size=24, base=8, loop='nepa_mm.AccumulatingEpochLoop', drop_last=False, epochs=1,
           **kwargs):
    length = dict(max_iters=kwargs.pop('max_iters')) if 'Iter' in loop else dict(max_epochs=epochs)
    sampler = dict(type='InfiniteSampler' if 'Iter' in loop else 'DefaultSampler', shuffle='Iter' in loop)
    settings = dict(
        model=model(),
        work_dir=str(work_dir),
        train_dataloader=dict(
            batch_size=batch_size, num_workers=0, drop_last=drop_last, sampler=sampler, dataset=Images(size),
            collate_fn=dict(type='default_collate')),
        train_cfg=dict(type=loop, **length),
        optim_wrapper=dict(
            # Adam's usual eps would magnify the rounding of gradients near zero.
            optimizer=dict(type='AdamW', lr=1e-3, weight_decay=0.05, eps=1e-5),
            clip_grad=dict(max_norm=1.0),
            constructor='nepa_mm.LayerDecayOptimWrapperConstructor',
            paramwise_cfg=dict(head_lr=5e-4)),
        param_scheduler=dict(type='nepa_mm.LayerDecayCosineLR', decay=0.9, end=4 * epochs, warmup=1, by_epoch=True,
                             convert_to_iter_based=True),
        custom_hooks=[dict(type='EMAHook', momentum=0.3)],
        default_hooks=dict(logger=dict(type='LoggerHook', interval=1)),
        auto_scale_lr=dict(base_batch_size=base),
        randomness=dict(seed=0),
        experiment_name=f'{work_dir.name}-{next(NUMBERS)}',
        default_scope='mmpretrain')
    return Runner(**{**settings, **kwargs})


def trained(*args, **kwargs):
    built = runner(*args, **kwargs)
    built.train()
    ema, = (hook.ema_model.module for hook in built.hooks if type(hook).__name__ == 'EMAHook')
    return built, built.model.state_dict(), ema.state_dict()


def assert_close(*pairs):
    for one, other in pairs:
        assert one.keys() == other.keys()
        for name in one:
            torch.testing.assert_close(one[name], other[name], atol=1e-6, rtol=0, msg=name)


def test_accumulation_x4_is_batch_x4_after_three_steps_and_so_is_the_average(tmp_path):
    once, weights, average = trained(tmp_path / 'once', 8)
    four, weights_of_four, average_of_four = trained(tmp_path / 'four', 2)
    assert_close((weights, weights_of_four), (average, average_of_four))
    start = model().state_dict()['backbone.patch_embed.weight']
    assert (weights['backbone.patch_embed.weight'] - start).abs().max() > 5e-4
    assert (weights['backbone.patch_embed.weight'] - average['backbone.patch_embed.weight']).abs().max() > 5e-5
    # Schedule, log and counters see three steps, not twelve batches.
    assert once.iter == four.iter == 3 and len(four.train_dataloader) == 3
    assert four.optim_wrapper.get_lr() == once.optim_wrapper.get_lr()
    history = [run.message_hub.get_scalar('train/loss')._log_history.tolist() for run in (once, four)]
    assert len(history[0]) == 3 and history[0] == pytest.approx(history[1], abs=1e-6)


class Regression(BaseModel):
    """In double precision."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.layers = torch.nn.Sequential(torch.nn.Linear(3 * 28 * 28, 8), torch.nn.GELU(), torch.nn.Linear(8, 1)).double()

    def forward(self, inputs, data_samples=None, mode='loss'):
        return dict(loss=(self.layers(inputs.flatten(1).double() / 255) - 1).square().mean())


def test_accumulation_x4_is_batch_x4_to_twelve_digits_in_double_precision(tmp_path):
    ends = []
    for batch_size in (8, 2):
        optimizer = dict(type='SGD', lr=0.1, momentum=0.9)  # Adam would magnify the rounding of gradients near zero
        _, weights, average = trained(tmp_path / str(batch_size), batch_size, model=Regression(), param_scheduler=None,
                                      optim_wrapper=dict(optimizer=optimizer))
        ends.append({**weights, **{f'average of {name}': value for name, value in average.items()}})
    assert not torch.equal(ends[0]['layers.0.weight'], Regression().state_dict()['layers.0.weight'])
    for name in ends[0]:
        torch.testing.assert_close(ends[0][name], ends[1][name], atol=1e-12, rtol=0, msg=name)


def test_without_accumulation_it_is_mmengine_s_loop(tmp_path):
    # The same schedule, too: an iteration is a step in both.
    _, *ours = trained(tmp_path / 'ours', 8, epochs=2)
    _, *stock = trained(tmp_path / 'stock', 8, epochs=2, train_cfg=dict(by_epoch=True, max_epochs=2), auto_scale_lr=None)
    for one, other in zip(ours, stock):
        assert all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize('batch_size', [2, 4])
@pytest.mark.parametrize('drop_last, steps', [(False, 2), (True, 1)])
def test_the_end_of_an_epoch_that_does_not_divide(drop_last, steps, batch_size, tmp_path):
    # 14 images: a step of 8, then one of 6 (3 x 2, or 4 + 2, whose images count alike), unless what is incomplete is dropped
    once, *expected = trained(tmp_path / 'once', 8, size=14, epochs=2, drop_last=drop_last)
    four, *found = trained(tmp_path / 'four', batch_size, size=14, epochs=2, drop_last=drop_last)
    losses = [run.message_hub.get_scalar('train/loss')._log_history.tolist() for run in (once, four)]
    assert losses[0] == pytest.approx(losses[1], abs=1e-6)
    assert once.iter == four.iter == 2 * steps
    assert_close(*zip(expected, found))


class Views(Images):
    """Each image twice, as MultiView gives it."""

    def __getitem__(self, index):
        return dict(inputs=[IMAGES[index]] * 2)


class Twice(Regression):

    def forward(self, inputs, data_samples=None, mode='loss'):
        return super().forward(inputs[1])


def test_images_count_alike_also_where_each_comes_in_several_views(tmp_path):
    settings = dict(optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.1)), param_scheduler=None)
    loader = dict(num_workers=0, sampler=dict(type='DefaultSampler', shuffle=False), collate_fn=dict(type='default_collate'))
    found = []
    for batch in (8, 4):  # of the six that are left, four and two
        views = dict(loader, batch_size=batch, dataset=Views(14))
        found.append(trained(tmp_path / str(batch), batch, model=Twice(), train_dataloader=views, **settings)[1])
    for name in found[0]:
        torch.testing.assert_close(found[0][name], found[1][name], atol=1e-12, rtol=0, msg=name)


def test_the_rest_of_an_epoch_is_a_smaller_step_as_in_the_release(tmp_path):
    # 15 images: a step of 4 x 2, one of 3 x 2, and one image that is no whole batch
    loop, said = dict(type='nepa_mm.AccumulatingEpochLoop', max_epochs=2, take_rest=True), []
    built = runner(tmp_path / 'four', 2, size=15, drop_last=True, epochs=2, train_cfg=loop)
    built.logger.info = lambda text: said.append(str(text))
    built.train()
    _, weights, _ = trained(tmp_path / 'once', 8, size=14, epochs=2)  # 8 and 6
    assert built.iter == 4 and len(built.train_dataloader) == 2
    assert_close((weights, built.model.state_dict()))
    assert any(text.endswith('4 iterations, 2 of them warm-up; 2 an epoch, which leaves out 1 of 15 images') for text in said)


def test_the_release_s_steps_on_8_gpus():
    share = torch.utils.data.DataLoader(range(-(-1_281_167 // 8)), 256, drop_last=True)
    assert len(share) == 625 and 1600 * len(StepLoader(share, 2, take_rest=True)) == 500_800
    few = torch.utils.data.DataLoader(range(11), 2, drop_last=True)
    assert [len(batches) for batches in StepLoader(few, 2, take_rest=True)] == [2, 2, 1]
    assert len(StepLoader(share, 2)) == 312  # without


def test_an_iteration_loop_takes_whole_steps_and_resumes_at_the_right_image(tmp_path):
    loop = dict(loop='nepa_mm.AccumulatingIterLoop', max_iters=4)
    checkpoints = dict(type='CheckpointHook', by_epoch=False, interval=2)
    whole, *expected = trained(tmp_path / 'a', 2, **loop, default_hooks=dict(checkpoint=checkpoints), param_scheduler=None)
    _, *once = trained(tmp_path / 'b', 8, **loop, param_scheduler=None)
    assert whole.iter == 4
    assert_close(*zip(expected, once))
    half = dict(load_from=str(tmp_path / 'a/iter_2.pth'), resume=True)
    again, *resumed = trained(tmp_path / 'c', 2, **loop, **half, param_scheduler=None)
    assert again.train_dataloader.dataset.asked[-16:] == whole.train_dataloader.dataset.asked[16:32]
    assert_close(*zip(expected, resumed))


def test_scaling_the_rate_leaves_the_head_s_rate(tmp_path):
    scaled = runner(tmp_path, 4, auto_scale_lr=dict(base_batch_size=16, enable=True), param_scheduler=None)
    scaled.train()
    rates = {group['lr'] for group in scaled.optim_wrapper.param_groups if 'layer_depth' in group}
    assert rates == {1e-3 / 4, 5e-4} and scaled.iter == 6


def test_accumulation_counts_when_the_rate_is_scaled(tmp_path):
    optim_wrapper = dict(accumulative_counts=3, optimizer=dict(type='AdamW', lr=1e-2))
    scale = dict(base_batch_size=24, enable=True)
    built = runner(tmp_path, 4, auto_scale_lr=scale, optim_wrapper=optim_wrapper, param_scheduler=None)
    built.train()
    assert built.optim_wrapper.get_lr()['lr'] == [1e-2 / 2] and built.iter == 2


def test_the_start_says_batch_rate_and_lengths(tmp_path, caplog):
    built = runner(tmp_path, 2, size=23, drop_last=True, epochs=2)
    decay = dict(type='LinearParamScheduler', param_name='weight_decay', start_factor=0.1, end=99, by_epoch=False)
    built.param_schedulers = [built.param_schedulers, decay]  # which is no warm-up of the learning rate
    messages = []
    built.logger.info = lambda text: messages.append(text)
    built.train()
    line, = (text for text in messages if str(text).startswith('Effective batch'))
    assert line == ('Effective batch 8 = 1 process x 2 images x 4 accumulated; lr 0.001; 4 iterations, 2 of them warm-up; '
                    '2 an epoch, which leaves out 7 of 23 images')


def test_what_cannot_be_is_refused(tmp_path):
    with pytest.raises(ConfigError, match='effective batch 32 = 1 process x 8 images x 4 accumulated is larger than an epoch '
                       'of 24 images.*--auto-scale-lr'):
        runner(tmp_path, 8, base=32).train()
    with pytest.raises(ConfigError, match='effective batch 32 .* is larger than an epoch of 24 images'):
        runner(tmp_path, 8, base=32, loop='nepa_mm.AccumulatingIterLoop', max_iters=4, param_scheduler=None).train()
    with pytest.raises(ConfigError, match=r'6 images make no full batch of 8 = 1 process x 8 images.* \| train_dataloader'):
        runner(tmp_path, 8, size=6, drop_last=True).train()
    rise = dict(type='LinearLR', start_factor=0.1, end=3, by_epoch=True, convert_to_iter_based=True)
    with pytest.raises(ConfigError, match=r'a warm-up of 9 iterations is longer than training, 3 iter.* \| '
                                          r'param_scheduler.0.end=3'):
        runner(tmp_path, 8, param_scheduler=[rise], cfg=Config(dict(param_scheduler=[rise]))).train()
    with pytest.raises(ConfigError, match=r'^8 is no multiple of 1 process x train_dataloader.batch_size=3 \| '
                                          r'.*base_batch_size \| '
                       'set train_dataloader.batch_size=2, or scale'):
        runner(tmp_path, 3).train()
    with pytest.raises(ConfigError, match=r'--auto-scale-lr needs .* \| auto_scale_lr.base_batch_size'):
        runner(tmp_path, 8, auto_scale_lr=dict(enable=True)).train()
    for base in (0, -8, 'abc', 8.5):
        with pytest.raises(ConfigError, match=rf'^{base!r} is no number of images \| auto_scale_lr.base_batch_size'):
            runner(tmp_path, 8, base=base).train()
    built = OptimWrapper(torch.optim.SGD(model().parameters(), lr=1.))
    for optim_wrapper in (built, dict(a=dict(), constructor='x')):
        with pytest.raises(ConfigError, match=r'no config of one optimizer, .* \| optim_wrapper'):
            runner(tmp_path, 8, optim_wrapper=optim_wrapper, param_scheduler=None).train()
    sampler = dict(type=torch.utils.data.BatchSampler, drop_last=False)
    with pytest.raises(ConfigError, match=r'have no size .* \| train_dataloader.batch_sampler'):
        runner(tmp_path, 8, train_dataloader=dict(
            batch_size=8, num_workers=0, sampler=dict(type='DefaultSampler'), batch_sampler=sampler, dataset=Images(24))).train()
    with pytest.raises(ConfigError, match=r"'1e-x' is no number \| optim_wrapper.optimizer.lr"):
        runner(tmp_path, 8, optim_wrapper=dict(optimizer=dict(type='SGD', lr='1e-x')), param_scheduler=None).train()


def test_a_loop_and_a_sampler_that_never_meet(tmp_path):
    loader = dict(batch_size=8, num_workers=0, drop_last=True, dataset=Images(6), collate_fn=dict(type='default_collate'))
    with pytest.raises(ConfigError, match=r'its sampler never ends.* \| train_dataloader.sampler.type \| .*DefaultSampler'):
        runner(tmp_path, 8, train_dataloader=dict(loader, sampler=dict(type='InfiniteSampler'))).train()
    with pytest.raises(ConfigError, match=r'6 images make no full batch of 8 = .* \| train_dataloader'):
        runner(tmp_path, 8, train_dataloader=dict(loader, sampler=dict(type='DefaultSampler')), max_iters=2,
               loop='nepa_mm.AccumulatingIterLoop', param_scheduler=None).train()


def test_what_differs_from_the_config_is_said(tmp_path):
    optim_wrapper = dict(accumulative_counts=3, optimizer=dict(type='AdamW', lr=1e-2))
    schedule = dict(type='CosineAnnealingLR', T_max=30, end=30, by_epoch=False)
    built = runner(tmp_path, 4, optim_wrapper=optim_wrapper, param_scheduler=schedule)
    said = []
    built.logger.info = built.logger.warning = lambda text: said.append(str(text))
    built.train()
    assert 'optim_wrapper.accumulative_counts=3 becomes 2, which keeps auto_scale_lr.base_batch_size' in said
    assert any(text.startswith('The learning rate is scheduled for 30 iterations, but training takes 3: ') for text in said)


def test_the_loader_can_be_copied(tmp_path):
    loader = copy.copy(StepLoader(torch.utils.data.DataLoader(Images(6), batch_size=1), 4))
    assert len(loader) == 2 and loader.batch_size == 1


def test_accumulation():
    assert accumulation(4096, 8, 512) == 1 and accumulation(4096, 8, 256) == 2 and accumulation(4096, 1, 512) == 8
    with pytest.raises(ConfigError, match=r'16 processes x train_dataloader.batch_size=512.* \| '
                                          r'set train_dataloader.batch_size=256'):
        accumulation(4096, 16, 512)
    with pytest.raises(ConfigError, match='3 processes .* use another number of processes'):
        accumulation(4096, 3, 512)


def test_warmup_of_mmengine_s_schedulers_and_ours():
    from mmengine.optim import CosineAnnealingLR, LinearLR
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.)
    rise = LinearLR(optimizer, start_factor=0.1, end=5, by_epoch=True)
    assert warmup_iters([rise, CosineAnnealingLR(optimizer, T_max=5, begin=5, end=10)], 7) == 35
    assert warmup_iters([CosineAnnealingLR(optimizer, T_max=5)], 7) == 0
    optimizer.param_groups[0].update(layer_decay_rate=1.)
    assert warmup_iters([LayerDecayCosineLR(optimizer, decay=1., end=10, warmup=3, by_epoch=False)], 7) == 3
