import pytest
import torch
from mmengine.hooks import Hook
from mmengine.runner import Runner
from PIL import Image

from nepa_mm.engine import ReliableRunner
from nepa_mm.errors import DataError
from tiny import Nearer, Numbers


def runner(work_dir, epochs, batch_size=2, kind=ReliableRunner, **kwargs):
    seen = []
    loader = dict(batch_size=batch_size, num_workers=0, drop_last=True, sampler=dict(type='DefaultSampler', shuffle=True),
                  dataset=Numbers(serialize_data=False))
    settings = dict(train_cfg=dict(by_epoch=True, max_epochs=epochs), optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.1)),
                    randomness=dict(seed=3), experiment_name=f'{work_dir}{epochs}')
    return kind(Nearer(seen), str(work_dir), train_dataloader=loader, **{**settings, **kwargs}), seen


def test_one_that_is_built_without_a_config_resumes_from_its_work_dir(tmp_path, monkeypatch):
    (tmp_path / 'elsewhere').mkdir()
    (tmp_path / 'elsewhere/iter_99.pth').write_bytes(b'of another run')
    (tmp_path / 'elsewhere/.iter_99.pth.tmp').write_bytes(b'too')
    monkeypatch.chdir(tmp_path / 'elsewhere')
    whole, seen = runner(tmp_path / 'whole', 2)
    whole.train()
    assert sorted(seen) == sorted([*range(8)] * 2)
    runner(tmp_path / 'run', 2)[0].train()
    (tmp_path / 'run/epoch_2.pth').unlink()
    resumed, rest = runner(tmp_path / 'run', 2, resume=True)
    resumed.train()
    assert rest == seen[8:] and torch.equal(resumed.model.weight, whole.model.weight)
    assert len(list((tmp_path / 'elsewhere').iterdir())) == 2


def test_any_hook_can_be_taken_away(tmp_path):
    hooks = dict(timer=None, stop_on_signal=None, mine=dict(type='nepa_mm.StopOnSignalHook'))
    built, _ = runner(tmp_path, 1, default_hooks=hooks)
    names = [type(hook).__name__ for hook in built.hooks]
    assert 'IterTimerHook' not in names and names.count('StopOnSignalHook') == 1


@pytest.mark.parametrize('load', ['LoadImageFromFile', 'nepa_mm.LoadImage'])
def test_a_broken_image_is_named_whichever_loader_a_config_has(load, tmp_path):
    (tmp_path / 'a').mkdir()
    Image.new('RGB', (8, 8)).save(tmp_path / 'a/0.png')
    (tmp_path / 'a/1.png').write_bytes((tmp_path / 'a/0.png').read_bytes()[:40])
    dataset = dict(type='mmpretrain.CustomDataset', data_root=str(tmp_path),
                   pipeline=[dict(type=load), dict(type='mmpretrain.PackInputs')])
    for workers in (0, 1):
        loader = ReliableRunner.build_dataloader(dict(
            batch_size=2, num_workers=workers, sampler=dict(type='DefaultSampler', shuffle=False), dataset=dataset))
        with pytest.raises(DataError) as error:
            next(iter(loader))
        assert error.value.what.startswith('it cannot be read as an image (') and error.value.where == (
            f"img_path='{tmp_path}/a/1.png'") and error.value.remedy == 'mend the file or take it out of the dataset'


def test_from_any_step_of_an_epoch_with_a_rest_it_resumes_to_the_same_bits(tmp_path):
    # 8 images: two steps of three, and one of two
    options = dict(
        batch_size=1, auto_scale_lr=dict(base_batch_size=3), default_scope='mmengine',
        train_cfg=dict(type='nepa_mm.AccumulatingEpochLoop', max_epochs=2, take_rest=True),
        default_hooks=dict(checkpoint=dict(type='CheckpointHook', by_epoch=False, interval=1)))
    named = []

    class Names(Hook):

        def before_train_iter(self, runner, batch_idx, data_batch=None):
            named.extend(runner.images_of(runner.iter + 1))

    whole, seen = runner(tmp_path / 'whole', 2, custom_hooks=[Names()], **options)
    whole.train()
    assert whole.iter == 6 and sorted(seen[:8]) == [*range(8)] and named == [f'index {image}' for image in seen]
    for step, images in ((1, 3), (2, 6), (3, 8), (4, 11), (5, 14)):
        saved = str(tmp_path / f'whole/iter_{step}.pth')
        again, rest = runner(tmp_path / f'from{step}', 2, resume=True, load_from=saved, **options)
        again.train()
        assert rest == seen[images:] and torch.equal(again.model.weight, whole.model.weight), step


def test_a_seed_that_was_drawn_at_random_is_that_of_the_resumed_run(tmp_path):
    whole, seen = runner(tmp_path / 'whole', 2, randomness=dict(seed=None))
    whole.train()
    drawn = dict(randomness=dict(seed=None), resume=True, load_from=str(tmp_path / 'whole/epoch_1.pth'))
    again, rest = runner(tmp_path / 'run', 2, **drawn)
    again.train()
    assert again.run_seed == whole.run_seed and rest == seen[8:] and torch.equal(again.model.weight, whole.model.weight)


class Wrong(Hook):

    def before_run(self, runner):
        raise DataError('a label', 'is', 'wrong')


@pytest.mark.parametrize('kind', [ReliableRunner, Runner])
def test_an_error_before_the_weights_are_loaded_saves_nothing(kind, tmp_path):
    runner(tmp_path / 'whole', 1, kind=kind)[0].train()
    again, _ = runner(tmp_path / 'run', 2, custom_hooks=[Wrong()], resume=True, load_from=str(tmp_path / 'whole/epoch_1.pth'))
    with pytest.raises(DataError, match='a label'):
        again.train()
    assert not list((tmp_path / 'run').glob('*.pth'))
