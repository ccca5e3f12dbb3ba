import re
from importlib.util import find_spec
from types import SimpleNamespace

import numpy as np
import pytest
from mmengine.config import Config
from mmengine.registry import VISBACKENDS
from mmengine.visualization import DVCLiveVisBackend, LocalVisBackend, MLflowVisBackend, Visualizer
from mmengine.visualization.vis_backend import force_init_env

from nepa_mm import NEPA, NEPAViT
from nepa_mm.engine import ReliableRunner
from nepa_mm.errors import ConfigError
from nepa_mm.visualization.vis_backends import spare_training
from tiny import ROOT, TINY, Images

IMAGE = np.zeros((4, 4, 3), dtype='u1')


@VISBACKENDS.register_module()
class Failing(LocalVisBackend):
    """A backend that fails in one of its methods."""

    def __init__(self, save_dir, fails_in):
        super().__init__(save_dir)
        self.fails_in, self.calls = fails_in, []

    def _init_env(self):
        self.fail('_init_env')
        super()._init_env()

    @force_init_env
    def add_config(self, *args, **kwargs):
        self.fail('add_config')

    @force_init_env
    def add_image(self, *args, **kwargs):
        self.fail('add_image')

    @force_init_env
    def add_scalars(self, *args, **kwargs):
        self.fail('add_scalars')

    def close(self):
        self.fail('close')

    def fail(self, name):
        self.calls.append(name)
        if name == self.fails_in:
            raise RuntimeError(f'no connection in {name}\nwith a second line')


@pytest.fixture
def warned(monkeypatch):
    messages = []
    monkeypatch.setattr('nepa_mm.visualization.vis_backends.print_log', lambda message, *_: messages.append(message))
    return messages


@pytest.mark.parametrize('fails_in, calls', [
    ('_init_env', {'_init_env': 1}),  # one that cannot begin is not asked again
    ('add_config', {'add_scalars': 4, 'close': 1}),
    ('add_scalars', {'add_scalars': 4, 'close': 1}),
    ('add_image', {'add_image': 2, 'add_scalars': 4, 'close': 1}),
    ('close', {'add_image': 2, 'close': 1}),
])
def test_a_backend_that_fails_costs_one_warning_and_the_training_goes_on(fails_in, calls, warned, tmp_path):
    cfg = Config(dict(
        visualizer=dict(type='UniversalVisualizer', vis_backends=[
            dict(type='Failing', fails_in=fails_in), dict(type='LocalVisBackend')])))
    runner = ReliableRunner(
        NEPA(NEPAViT(**TINY)), str(tmp_path), cfg=cfg, experiment_name=f'{tmp_path.name}', visualizer=cfg.visualizer,
        train_dataloader=dict(batch_size=2, num_workers=0, sampler=dict(type='InfiniteSampler'), dataset=Images(),
                              collate_fn=dict(type='default_collate')),
        train_cfg=dict(by_epoch=False, max_iters=4), optim_wrapper=dict(optimizer=dict(type='AdamW', lr=1e-3)),
        default_hooks=dict(logger=dict(type='LoggerHook', interval=1)), randomness=dict(seed=0), default_scope='mmpretrain')
    backend = runner.visualizer.get_backend('Failing')
    for step in (0, 1):
        runner.visualizer.add_image('picture', IMAGE, step)
    runner.train()
    assert runner.iter == 4 and len(list(tmp_path.rglob('picture_?.png'))) == 2
    line, = warned
    where = 'add_config' if fails_in == '_init_env' else fails_in
    assert line.startswith(f'Failing.{where} failed: RuntimeError: no connection in {fails_in}; ')
    assert {name: backend.calls.count(name) for name in calls} == calls
    assert fails_in != '_init_env' or set(backend.calls) == {'_init_env'}


@pytest.mark.parametrize('kind, library, expected', [
    (MLflowVisBackend, '_mlflow', ['query_patches_7.png', 'val_a.jpg']),
    (DVCLiveVisBackend, '_dvclive', ['query_patches_7.png', 'val_a.jpg.png']),
])
def test_pictures_have_the_names_of_files_where_a_backend_needs_them(kind, library, expected, tmp_path):
    """MLflow refuses others, and both would overwrite the picture of the step before."""
    backend, names = kind(str(tmp_path)), []
    backend._env_initialized = True
    log = dict(_mlflow=lambda image, name: names.append(name), _dvclive=lambda name, image: names.append(name))[library]
    setattr(backend, library, SimpleNamespace(log_image=log, MlflowException=RuntimeError))
    visualizer = spare_training(spare_training(Visualizer(vis_backends=[backend])))
    for name in ('query_patches', 'val_a.jpg'):
        visualizer.add_image(name, IMAGE, 7)
    assert names == expected


@pytest.mark.skipif(find_spec('mlflow') is not None, reason='mlflow is installed')
def test_a_package_that_is_missing_is_refused_at_the_start(tmp_path):
    visualizer = spare_training(Visualizer(vis_backends=[MLflowVisBackend(str(tmp_path))]))
    with pytest.raises(ConfigError, match=r'pip install mlflow.* \| visualizer.vis_backends \(MLflowVisBackend\) \| '):
        visualizer.add_config(Config())


def test_the_documented_entries_are_right(tmp_path):
    """Nothing begins before the first use, so that no package is needed."""
    entries = re.findall(r"^\| `(dict\(type='\w+VisBackend'.*?\))` \|", (ROOT / 'docs/watching.md').read_text(), re.M)
    assert len(entries) == 6
    for entry in entries:
        VISBACKENDS.build({'save_dir': str(tmp_path), **eval(entry)})
