"""What a resumed training takes from its checkpoint, and what from its config."""
from itertools import count

import pytest
import torch
from mmengine.config import Config
from mmengine.hooks import Hook
from safetensors.torch import save_file

from nepa_mm.engine import ReliableRunner
from nepa_mm.engine.runner.resumed_state import changes_of, settings_of
from nepa_mm.errors import CheckpointError, ConfigError
from tiny import Nearer, Numbers

RUNS = count()
RISE = dict(type='LinearLR', start_factor=0.1, by_epoch=True, begin=0, end=1, convert_to_iter_based=True)
FALL = dict(type='CosineAnnealingLR', by_epoch=True, begin=1, convert_to_iter_based=True)
STEPS = dict(type='MultiStepLR', by_epoch=True, milestones=[1, 3], gamma=0.5)


class Rates(Hook):
    """Rate, weight decay and momentum of each step."""

    def __init__(self):
        self.seen = {}

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        group = runner.optim_wrapper.param_groups[0]
        self.seen[runner.iter] = [group['lr'], group['weight_decay'], group['momentum']]


def run(work_dir, epochs=4, schedule=(RISE, FALL), batch=2, lr=0.1, flag=False, hooks=(), loop=None, classes='ab', **kwargs):
    """A training of four steps an epoch, and its rates."""
    rates = Rates()
    loader = dict(batch_size=batch, num_workers=0, sampler=dict(type='InfiniteSampler' if loop else 'DefaultSampler'),
                  dataset=Numbers(serialize_data=False, metainfo=dict(classes=list(classes))))
    optimizer = dict(type='SGD', lr=lr, momentum=kwargs.pop('momentum', 0.9), weight_decay=kwargs.pop('weight_decay', 0.01))
    built = ReliableRunner(
        Nearer([]), str(work_dir), train_dataloader=loader, train_cfg=loop or dict(by_epoch=True, max_epochs=epochs),
        optim_wrapper=dict(optimizer=optimizer), param_scheduler=[dict(each) for each in schedule] or None,
        randomness=dict(seed=3), experiment_name=f'{work_dir}{next(RUNS)}', custom_hooks=[rates, *hooks],
        cfg=Config(dict(allow_resume_change=flag)), **kwargs)
    built.train()
    return built, rates.seen


@pytest.fixture(scope='module')
def saved(tmp_path_factory):
    """Checkpoints of each epoch of a training of four, by iterations to the last."""
    folder = tmp_path_factory.mktemp('saved')
    run(folder)
    return folder


def resumed(saved, work_dir, epoch=2, **kwargs):
    return run(work_dir, resume=True, load_from=str(saved / f'epoch_{epoch}.pth'), **kwargs)


CHANGES = {
    'longer': (dict(epochs=8), 'train_cfg.max_epochs: 4 -> 8'),
    'rate': (dict(lr=0.02), 'optim_wrapper.optimizer.lr: 0.1 -> 0.02'),
    'decay': (dict(weight_decay=0.3), 'optim_wrapper.optimizer.weight_decay: 0.01 -> 0.3'),
    'momentum': (dict(momentum=0.5), 'optim_wrapper.optimizer.momentum: 0.9 -> 0.5'),
    'warm-up': (dict(schedule=(dict(RISE, end=3), dict(FALL, begin=3))), 'param_scheduler.0.end: 1 -> 3'),
    'kind': (dict(schedule=(RISE, STEPS)), 'param_scheduler.1.type: CosineAnnealingLR -> MultiStepLR'),
    'fewer': (dict(schedule=(STEPS, )), 'param_scheduler.1.type: CosineAnnealingLR -> None'),
    'more': (dict(schedule=(RISE, FALL, STEPS)), 'param_scheduler.2.gamma: None -> 0.5'),
    'none': (dict(schedule=()), 'param_scheduler.0.type: LinearLR -> None'),
}


@pytest.mark.parametrize('change', CHANGES)
def test_a_changed_run_goes_on_as_one_that_had_its_settings_from_the_beginning(change, saved, tmp_path):
    settings, said = CHANGES[change]
    with pytest.raises(ConfigError, match='a run with other settings: .*--allow-resume-change') as error:
        resumed(saved, tmp_path / 'refused', **settings)
    assert said in error.value.what
    whole, expected = run(tmp_path / 'whole', **settings)
    again, rates = resumed(saved, tmp_path / 'run', flag=True, **settings)
    assert list(rates) == list(range(8, 4 * settings.get('epochs', 4)))
    assert rates == {step: expected[step] for step in rates}
    ends = [[{**schedule.state_dict(), 'verbose': None} for schedule in each.param_schedulers or []] for each in (whole, again)]
    assert ends[0] == ends[1]
    assert not run(tmp_path / 'run', **settings, resume=True)[1]  # finished, and what was changed is what its checkpoints say


def test_moments_are_the_checkpoint_s(saved, tmp_path):
    before = torch.load(saved / 'epoch_2.pth', weights_only=False)['optimizer']['state'][0]['momentum_buffer']
    found = []

    class Look(Hook):

        def before_train(self, runner):
            found.append(runner.optim_wrapper.optimizer.state_dict()['state'][0]['momentum_buffer'].clone())

    resumed(saved, tmp_path, flag=True, epochs=5, hooks=[Look()])
    assert before.abs() > 0 and torch.equal(found[0], before)


def test_another_batch_keeps_the_place_of_the_schedule(saved, tmp_path):
    _, expected = run(tmp_path / 'whole', batch=4)
    _, rates = resumed(saved, tmp_path / 'run', flag=True, batch=4)  # 8 steps done, and 2 an epoch from here on
    assert list(rates) == [8, 9, 10, 11] and list(rates.values()) == [expected[step] for step in (4, 5, 6, 7)]


def test_iterations_and_schedules_of_both_kinds(tmp_path):
    loop = dict(by_epoch=False, max_iters=8)
    schedule = (dict(type='PolyLR', by_epoch=False), STEPS)
    run(tmp_path / 'saved', loop=loop, schedule=schedule, default_hooks=dict(
        checkpoint=dict(type='CheckpointHook', interval=5, by_epoch=False)))
    loop = dict(by_epoch=False, max_iters=20)
    _, expected = run(tmp_path / 'whole', loop=loop, schedule=schedule)
    options = dict(loop=loop, schedule=schedule, resume=True, load_from=str(tmp_path / 'saved/iter_5.pth'))
    with pytest.raises(ConfigError, match='train_cfg.max_iters: 8 -> 20'):
        run(tmp_path / 'refused', **options)
    _, rates = run(tmp_path / 'run', flag=True, **options)
    assert rates == {step: expected[step] for step in range(5, 20)}


def without(saved, tmp_path, *parts, forget=True):
    """A copy of a checkpoint without parts of it, and as if an older version had saved it."""
    checkpoint = torch.load(saved / 'epoch_2.pth', weights_only=False)
    for part in parts:
        del checkpoint[part]
    if forget:
        del checkpoint['meta']['nepa_mm_run']
    torch.save(checkpoint, tmp_path / 'epoch_2.pth')
    return tmp_path


def test_what_resuming_needs_is_asked_for(saved, tmp_path):
    with pytest.raises(CheckpointError, match='it was saved without optimizer, .* | start a new training from its weights'):
        resumed(without(saved, tmp_path, 'optimizer'), tmp_path, flag=True)
    with pytest.raises(CheckpointError, match='it was saved without param_schedulers, .*--allow-resume-change'):
        resumed(without(saved, tmp_path, 'param_schedulers'), tmp_path)
    _, expected = run(tmp_path / 'whole')
    _, rates = resumed(tmp_path, tmp_path / 'run', flag=True)
    assert rates == {step: expected[step] for step in range(8, 16)}  # the warm-up is over


def test_weights_alone_are_no_training_to_go_on_from(tmp_path):
    save_file({'weight': torch.zeros(1)}, tmp_path / 'published.safetensors')
    with pytest.raises(CheckpointError, match='it holds weights alone, .* | .*published.safetensors | start a new training'):
        run(tmp_path / 'run', resume=True, load_from=str(tmp_path / 'published.safetensors'))


def test_a_checkpoint_that_tells_no_settings_resumes_and_is_compared_by_its_states(saved, tmp_path):
    old = without(saved, tmp_path)
    _, expected = run(tmp_path / 'whole')
    _, rates = resumed(old, tmp_path / 'run')
    assert rates == {step: expected[step] for step in range(8, 16)}
    for settings, said in ((dict(epochs=8), 'param_scheduler.1.end: 16 -> 32'),
                           (dict(lr=0.02), 'lr of parameter group 0: 0.1 -> 0.02'),
                           (dict(weight_decay=0.3), 'weight_decay of parameter group 0: 0.01 -> 0.3')):
        with pytest.raises(ConfigError) as error:
            resumed(old, tmp_path / 'refused', **settings)
        assert said in error.value.what
        _, expected = run(tmp_path / f'whole {said[:5]}', **settings)
        _, rates = resumed(old, tmp_path / f'run {said[:5]}', flag=True, **settings)
        assert rates == {step: expected[step] for step in rates} and rates


def test_what_cannot_go_on_is_refused_with_the_flag_as_well(saved, tmp_path):
    average = dict(type='EMAHook')
    with pytest.raises(ConfigError, match='it holds no average .*EMAHook'):
        resumed(saved, tmp_path, hooks=[average])
    resumed(saved, tmp_path / 'averaged', hooks=[average], flag=True)
    with pytest.raises(ConfigError, match='would be taken for the weights .* | keep EMAHook'):
        resumed(tmp_path / 'averaged', tmp_path, epoch=4, epochs=5, flag=True)
    with pytest.raises(ConfigError, match=r'2 is no more than the 2 that the checkpoint has done \| train_cfg.max_epochs'):
        resumed(saved, tmp_path, epochs=2, flag=True)
    plateau = dict(type='ReduceOnPlateauLR', monitor='loss')
    with pytest.raises(ConfigError, match='ReduceOnPlateauLR depends on past validations'):
        resumed(saved, tmp_path, schedule=(plateau, ), flag=True)


@pytest.mark.parametrize('classes, said', [('ba', "0: 'a' -> 'b'"), ('abc', "2: None -> 'c'")])
def test_labels_that_mean_other_classes_are_refused(classes, said, saved, tmp_path):
    with pytest.raises(ConfigError, match=f'train_dataloader.dataset.metainfo.classes.{said} '):
        resumed(saved, tmp_path, classes=classes)
    resumed(saved, tmp_path, classes=classes, flag=True)


def test_settings_are_flat_and_compared_as_numbers():
    config = dict(type=dict, betas=(0.9, 0.95), parts=[dict(end=3), dict(end=None)], lr=3e-4 * 4096 / 256)
    assert settings_of(config, 'a') == {
        'a.type': 'builtins.dict', 'a.betas': [0.9, 0.95], 'a.parts.0.end': 3, 'a.parts.1.end': None, 'a.lr': 0.0048}
    assert not changes_of(settings_of(config, 'a'), settings_of(dict(config, lr=0.0048, betas=[0.9, 0.95]), 'a'))
    assert changes_of({'a': 1}, {'b': False}) == ['a: 1 -> None', 'b: None -> False']
    # What mmengine takes by default may as well be said
    assert not changes_of({'optim_wrapper.lr': 1}, {'optim_wrapper.lr': 1, 'optim_wrapper.type': 'OptimWrapper'})
    assert changes_of({}, {'optim_wrapper.type': 'Other'}) == ['optim_wrapper.type: OptimWrapper -> Other']
