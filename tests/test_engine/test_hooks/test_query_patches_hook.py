import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import HOOKS, VISBACKENDS
from mmengine.runner import Runner
from mmengine.visualization import LocalVisBackend
from PIL import Image

from nepa_mm.engine import QueryPatchesHook
from nepa_mm.errors import ConfigError, DataError
from tiny import ROOT, TINY

PIXELS = dict(mean=[127.5] * 3, std=[127.5] * 3, to_rgb=True)


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    """Eight images of noise."""
    folder = tmp_path_factory.mktemp('images')
    for i in range(8):
        Image.fromarray(np.random.default_rng(i).integers(256, size=(28, 28, 3), dtype='u1')).save(folder / f'{i}.png')
    return folder


def runner(folder, work_dir, hooks, backends=(dict(type='LocalVisBackend'), ), **model):
    return Runner(
        model=dict(type='nepa_mm.NEPA', data_preprocessor=PIXELS,
                   backbone=dict(type='nepa_mm.NEPAViT', drop_path_rate=0.2, **TINY), **model),
        work_dir=str(work_dir), default_scope='mmpretrain', experiment_name=work_dir.name,
        train_dataloader=dict(
            batch_size=2, num_workers=0, sampler=dict(type='DefaultSampler', shuffle=True),
            collate_fn=dict(type='default_collate'),
            dataset=dict(type='CustomDataset', data_root=str(folder), data_prefix='', with_label=False,
                         pipeline=[dict(type='LoadImageFromFile'), dict(type='RandomFlip', prob=0.5), dict(type='PackInputs')])),
        train_cfg=dict(by_epoch=True, max_epochs=2), optim_wrapper=dict(optimizer=dict(type='AdamW', lr=1e-2)),
        custom_hooks=hooks, default_hooks=dict(checkpoint=None, logger=dict(type='LoggerHook', interval=1)),
        visualizer=dict(type='UniversalVisualizer', vis_backends=list(backends)), randomness=dict(seed=3), log_level='ERROR')


def train(folder, work_dir, hooks, **kwargs):
    torch.manual_seed(0)
    made = runner(folder, work_dir, hooks, **kwargs)
    made.train()
    return made


def hook(**kwargs):
    return dict(type='nepa_mm.QueryPatchesHook', **kwargs)


def test_pictures_before_during_and_after_a_training_that_stays_the_same(folder, tmp_path):
    watched = train(folder, tmp_path / 'watched', [hook(images=2, interval=3, layers=1, queries=[(1, 1)])])
    plain = train(folder, tmp_path / 'plain', [])
    for (name, parameter), other in zip(watched.model.named_parameters(), plain.model.parameters()):
        assert torch.equal(parameter, other), name
    assert watched.model.training
    pictures = {path.name: np.asarray(Image.open(path)) for path in (tmp_path / 'watched').rglob('vis_image/*.png')}
    assert sorted(pictures) == [f'query_patches_{step}.png' for step in (0, 3, 6, 8)]  # of 8 steps
    first, last = pictures['query_patches_0.png'], pictures['query_patches_8.png']
    assert first.shape == last.shape and (first != last).any()


@VISBACKENDS.register_module()
class Kept(LocalVisBackend):
    """A backend, as that of TensorBoard or WandB, which keeps the images in memory."""
    images = {}

    def add_image(self, name, image, step=0, **kwargs):
        self.images[name, step] = image


def test_every_backend_of_the_visualizer_gets_them(folder, tmp_path):
    train(folder, tmp_path, [hook(images=str(folder), interval=4, queries=[(0, 0)])],
          backends=[dict(type='LocalVisBackend'), dict(type='Kept')])
    assert list(Kept.images) == [('query_patches', 0), ('query_patches', 4), ('query_patches', 8)]
    local = next(tmp_path.rglob('query_patches_4.png'))
    np.testing.assert_array_equal(Kept.images['query_patches', 4], Image.open(local))


def test_images_are_spread_over_the_data_or_given(folder, tmp_path):
    found = []
    for images in (4, [str(folder / '5.png'), str(folder / '0.png')], 20):
        made = HOOKS.build(hook(images=images, size=28))
        made.show = lambda runner, step: None
        made.before_train(runner(folder, tmp_path / str(len(found)), []))
        found.append([name.split('/')[-1] for name in made.names])
        assert made.pixels.shape[1:] == (3, 28, 28)
        np.testing.assert_array_equal(made.pixels[1].permute(1, 2, 0), Image.open(folder / found[-1][1]))
    assert found == [['0.png', '2.png', '4.png', '6.png'], ['5.png', '0.png'], [f'{i}.png' for i in range(8)]]


@pytest.mark.parametrize('settings, error, message', [
    (dict(interval=0), ConfigError, r'0 is out of range \| QueryPatchesHook.interval \| give 1 or more'),
    (dict(images=0), ConfigError, r'0 is out of range \| QueryPatchesHook.images'),
    (dict(images=[]), ConfigError, r'0 is out of range \| QueryPatchesHook.images'),
    (dict(images='gone.png'), DataError, r'there is no such file \| gone.png'),
    (dict(queries=[(4, 0)]), ConfigError, r'4,0 is outside the grid of 4 rows and 4 columns.* \| query'),
    (dict(layers=7), ConfigError, r'7 is not there: this model has 3 \| layers'),
])
def test_what_is_wrong_shows_before_the_first_step(settings, error, message, folder, tmp_path):
    with pytest.raises(error, match=message):
        train(folder, tmp_path, [hook(**settings)])


def test_images_without_files_are_refused(folder, tmp_path):
    made = runner(folder, tmp_path, [])
    made.train_dataloader.dataset.get_data_info = lambda index: dict(img=np.zeros((28, 28, 3), 'u1'))  # as of CIFAR
    with pytest.raises(ConfigError, match=r'3: CustomDataset keeps its images in no files \| QueryPatchesHook.images \| '
                                          r'give paths'):
        QueryPatchesHook().before_train(made)


def test_other_algorithms_are_refused(folder, tmp_path):
    made = runner(folder, tmp_path, [])
    made.model.backbone = torch.nn.Identity()
    with pytest.raises(ConfigError, match=r'Identity has no embed.* \| .*backbone'):
        QueryPatchesHook().before_train(made)


def test_only_laptop_runs_are_watched_by_default():
    watched = sorted(path for path in (ROOT / 'configs').rglob('*.py') if 'QueryPatchesHook' in path.read_text())
    assert [path.name for path in watched] == [
        'nepa_vit-micro-p8_1xb32-amp-coslr-1e_camvid-cifar10-64px.py', 'nepa_vit-mini-p8_1xb64-coslr-18e_shapes-48px.py']
    for path in watched:
        assert Config.fromfile(path).custom_hooks[-1].type == 'nepa_mm.QueryPatchesHook'
