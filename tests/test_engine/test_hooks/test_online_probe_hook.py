import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from mmengine.runner import Runner
from mmpretrain.structures import DataSample
from PIL import Image

from nepa_mm.errors import ConfigError, DataError
from nepa_mm.models import PackedNEPA
from nepa_mm.registry import HOOKS
from tiny import TINY

PIXELS = dict(mean=[127.5] * 3, std=[127.5] * 3, to_rgb=True)


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    """Two classes of four images, dark and bright."""
    folder = tmp_path_factory.mktemp('images')
    for i in range(8):
        path = folder / 'dark bright'.split()[i % 2] / f'{i}.png'
        path.parent.mkdir(exist_ok=True)
        pixels = np.random.default_rng(i).integers(128, size=(28, 28, 3), dtype='u1') + np.uint8(127 * (i % 2))
        Image.fromarray(pixels).save(path)
    return folder


def train(folder, work_dir, probe=None, epochs=3, with_label=True, **kwargs):
    torch.manual_seed(0)
    runner = Runner(
        model=dict(type='nepa_mm.NEPA', data_preprocessor=PIXELS,
                   backbone=dict(type='nepa_mm.NEPAViT', drop_path_rate=0.2, **TINY)),
        work_dir=str(work_dir), default_scope='mmpretrain', experiment_name=f'{work_dir.name}_{len(kwargs)}',
        train_dataloader=dict(
            batch_size=4, num_workers=0, sampler=dict(type='DefaultSampler', shuffle=True),
            collate_fn=dict(type='default_collate'),
            dataset=dict(type='CustomDataset', data_root=str(folder), data_prefix='', with_label=with_label,
                         pipeline=[dict(type='LoadImageFromFile'), dict(type='PackInputs')])),
        train_cfg=dict(by_epoch=True, max_epochs=epochs), optim_wrapper=dict(optimizer=dict(type='AdamW', lr=1e-3)),
        custom_hooks=[dict(type='nepa_mm.StepSeedHook'), *([probe] if probe else [])],
        default_hooks=dict(checkpoint=dict(type='CheckpointHook', interval=1), logger=dict(type='LoggerHook', interval=1)),
        randomness=dict(seed=3), log_level='ERROR', **kwargs)
    runner.train()
    return runner


def probe(**kwargs):
    return dict(type='nepa_mm.OnlineProbeHook', **{'num_classes': 2, **kwargs})


def probe_of(runner):
    return next(hook for hook in runner.hooks if type(hook).__name__ == 'OnlineProbeHook')


def logged(work_dir):
    return [json.loads(line)['probe_top1'] for path in sorted(work_dir.rglob('vis_data/scalars.json'))
            for line in path.read_text().splitlines()]


def test_probe_learns_and_leaves_the_training_as_it_is(folder, tmp_path):
    probed, plain = train(folder, tmp_path / 'probed', probe(lr=0.1), epochs=4), train(folder, tmp_path / 'plain', epochs=4)
    for (name, parameter), other in zip(probed.model.named_parameters(), plain.model.parameters()):
        assert torch.equal(parameter, other), name
    top1 = logged(tmp_path / 'probed')
    assert len(top1) == 8 and all(0 <= value <= 100 for value in top1)
    assert probed.message_hub.get_scalar('train/probe_top1').current() == 100  # dark and bright can be told apart
    assert not probed.model.head._forward_pre_hooks


def test_resumed_probe_goes_on_to_the_bit(folder, tmp_path):
    whole = train(folder, tmp_path / 'whole', probe(), epochs=2)
    train(folder, tmp_path / 'parts', probe(), epochs=1)
    resumed = train(folder, tmp_path / 'parts', probe(), epochs=2, resume=True)
    assert torch.equal(probe_of(whole).classifier.weight, probe_of(resumed).classifier.weight)
    assert probe_of(whole).classifier.weight.any()
    started = train(folder, tmp_path / 'started', probe(), epochs=1, load_from=str(tmp_path / 'whole/epoch_2.pth'))
    assert probe_of(started).optimizer.state_dict()['state'][0]['step'] == 2  # of its own


def test_a_step_is_that_of_a_linear_classifier_on_the_mean_of_the_patches():
    hook = HOOKS.build(probe(num_classes=3, lr=0.5))
    model = torch.nn.Module()
    model.head, model.backbone = torch.nn.Identity(), torch.nn.Module()
    model.backbone.embed_dims, model.backbone.num_extra_tokens, model.backbone.predict = 4, 1, None
    model.weight = torch.nn.Parameter(torch.zeros(1))
    scalars = {}
    runner = type('Runner', (), dict(model=model, message_hub=type('Hub', (), dict(
        update_scalar=staticmethod(scalars.__setitem__)))))
    hook.before_train(runner)
    outputs, labels = torch.randn(5, 4, 4, requires_grad=True), torch.tensor([0, 2, 1, 0, 0])
    hook.keep(model.head, (outputs, None))
    assert torch.equal(hook.features, outputs[:, 1:].mean(1))
    batch = dict(data_samples=[DataSample(gt_label=label[None]) for label in labels])
    hook.after_train_iter(runner, 0, batch)
    assert scalars['train/probe_top1'].item() == pytest.approx(60)  # zeros predict class 0, of which there are three
    own = torch.nn.Linear(4, 3)
    torch.nn.init.zeros_(own.weight), torch.nn.init.zeros_(own.bias)
    F.cross_entropy(own(outputs[:, 1:].mean(1).detach()), labels).backward()
    torch.optim.AdamW(own.parameters(), lr=0.5, weight_decay=0.).step()
    assert torch.equal(hook.classifier.weight, own.weight) and own.weight.any()
    assert outputs.grad is None


def test_bad_settings_and_data_are_refused(folder, tmp_path):
    with pytest.raises(ConfigError, match=r'1 classes cannot be told apart \| OnlineProbeHook.num_classes'):
        HOOKS.build(probe(num_classes=1))
    with pytest.raises(DataError, match=r'an image without a label \| train_dataloader.dataset \| set with_label=True'):
        train(folder, tmp_path, probe(), with_label=False)
    model = PackedNEPA(dict(type='nepa_mm.PackedNEPAViT', **TINY))
    with pytest.raises(ConfigError, match=r'needs NEPA, not PackedNEPA \| custom_hooks'):
        HOOKS.build(probe()).before_train(SimpleNamespace(model=model))


@pytest.mark.parametrize('label', [-1, 2])
def test_a_label_that_is_none_of_the_classes_is_refused(label):
    hook = HOOKS.build(probe())
    hook.features = torch.zeros(2, 4)
    samples = [DataSample().set_gt_label(each) for each in (1, label)]
    with pytest.raises(DataError, match=rf'^label {label}, but the probe has 2 classes \| OnlineProbeHook.num_classes'):
        hook.labels(dict(data_samples=samples))
