"""What a config asks for, by two processes that each hold half of the model: the same training as with all of it in each."""
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from nepa_mm.checkpoints.storage.files import read_checkpoint
from runs import loss_of_steps, write_config
from two import SHARDED, train_two

pytestmark = [pytest.mark.slow, pytest.mark.skipif(torch.__version__ < (2, 6), reason='FSDP2 needs torch 2.6')]

PRETRAINING = '''
model = dict(
    type='nepa_mm.NEPA', data_preprocessor=dict(mean=[127.5] * 3, std=[127.5] * 3),
    backbone=dict(
        type='nepa_mm.NEPAViT', arch=dict(embed_dims=16, num_layers=2, num_heads=2, feedforward_channels=32), img_size=28,
        patch_size=7, rope=dict(rescale=None)))
optim_wrapper['optimizer']['eps'] = 1e-5
custom_hooks.append(dict(type='nepa_mm.QueryPatchesHook', images=2, interval=6, queries=[(1, 1)]))
bank, queries = ([dict(type='nepa_mm.LoadImage'), dict(type='Resize', scale=(28, 28)), dict(type='PackInputs'), *more]
                 for more in ([dict(type='nepa_mm.KNNBank')], []))
val_dataloader = dict(
    batch_size=4, num_workers=1, persistent_workers=True, collate_fn=dict(type='default_collate'),
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(type='ConcatDataset', datasets=[dict(
        type='CustomDataset', data_root=train_dataloader['dataset']['data_root'], pipeline=each) for each in (bank, queries)]))
val_evaluator = dict(type='nepa_mm.KNNAccuracy', k=[3])
val_cfg = dict(type='nepa_mm.FeatureValLoop')
'''
FINE_TUNING = '''
model['train_cfg'] = None
model['backbone'].update(drop_path_rate=0, rope=dict(rescale=None), frozen_stages=0)
optim_wrapper.update(constructor='nepa_mm.LayerDecayOptimWrapperConstructor', paramwise_cfg=dict(layer_decay_rate=0.5))
optim_wrapper['optimizer'].update(eps=1e-5, lr=0.01)
'''


def assert_same_training(one: Path, other: Path) -> tuple[dict, dict]:
    """Weights, averages and optimizers of two checkpoints that differ by rounding."""
    first, second = (read_checkpoint(path) for path in (one, other))
    for part in ('state_dict', 'ema_state_dict'):
        assert first[part].keys() == second[part].keys()
        for name, value in first[part].items():
            torch.testing.assert_close(second[part][name], value, atol=1e-6, rtol=0, msg=f'{part} {name}')
    assert first['optimizer']['param_groups'] == second['optimizer']['param_groups']
    return first, second


def logged(run: Path, key: str) -> list[float]:
    lines = [json.loads(line) for path in run.glob('*/vis_data/scalars.json') for line in path.read_text().splitlines()]
    return [line[key] for line in lines if key in line]


def test_a_pretraining_has_the_neighbours_and_the_pictures_of_whole_models(tmp_path):
    config = write_config(tmp_path)
    config.write_text(config.read_text() + PRETRAINING)
    sharded = tmp_path / 'sharded.py'
    sharded.write_text(config.read_text() + SHARDED)
    runs = tmp_path / 'ddp', tmp_path / 'fsdp'
    for each, run in zip((config, sharded), runs):
        train_two(each, run)
    assert_same_training(*(run / 'epoch_3.pth' for run in runs))
    accuracies = [logged(run, 'knn/top1_k3') for run in runs]
    assert len(accuracies[0]) == 3 and accuracies[0] == accuracies[1]
    pictures = [{path.name: np.asarray(Image.open(path), int) for path in run.rglob('vis_image/*.png')} for run in runs]
    assert sorted(pictures[0]) == sorted(pictures[1]) == [f'query_patches_{step}.png' for step in (0, 12, 15, 6)]
    for name, picture in pictures[0].items():
        assert np.abs(picture - pictures[1][name]).max() <= 2, name


def test_frozen_parts_decay_by_layer_and_a_scaled_rate_are_those_of_whole_models(whole_in_halves, tmp_path):
    config = write_config(tmp_path)
    config.write_text(config.read_text() + FINE_TUNING)
    sharded = tmp_path / 'sharded.py'
    sharded.write_text(config.read_text() + SHARDED)
    runs = tmp_path / 'ddp', tmp_path / 'fsdp'
    for each, run in zip((config, sharded), runs):
        train_two(each, run, '--auto-scale-lr', auto_scale_lr__base_batch_size=16,
                  load_from=whole_in_halves[1] / 'epoch_3.pth')  # for what is frozen
    _, end = assert_same_training(*(run / 'epoch_3.pth' for run in runs))
    begin = read_checkpoint(runs[1] / 'epoch_1.pth')
    moved = {name: not torch.equal(begin['ema_state_dict'][f'module.{name}'], end['ema_state_dict'][f'module.{name}'])
             for name in end['state_dict']}
    assert moved['backbone.layers.0.mlp.fc1.weight'] and moved['head.fc.weight']
    assert not any(moved[name] for name in moved if name.startswith('backbone.patch_embed.'))
    rates = {group['layer_depth']: group['initial_lr'] for group in end['optimizer']['param_groups']}
    assert len(rates) > 1 and rates == pytest.approx({depth: 0.01 * 4 / 16 * 0.5**depth for depth in rates})


def test_a_training_of_whole_models_goes_on_in_halves_and_back(tmp_path):
    """Both write the same files, so that either resumes; it sums in another order, which the last digits tell."""
    config, sharded = write_config(tmp_path), tmp_path / 'sharded.py'
    config.write_text(config.read_text() + "optim_wrapper['optimizer']['eps'] = 1e-5\n")
    sharded.write_text(config.read_text() + SHARDED)
    train_two(config, tmp_path / 'whole')
    path = tmp_path / 'whole/epoch_1.pth'
    for each, name in ((sharded, 'epoch_2.pth'), (config, 'epoch_3.pth')):
        run = tmp_path / name.removesuffix('.pth')
        train_two(each, run, '--resume', path)
        assert_same_training(tmp_path / 'whole' / name, run / name)
        path = run / name
    expected = {step: values for step, values in loss_of_steps(tmp_path / 'whole').items() if step > 10}
    assert {step: pytest.approx(values, abs=1e-4) for step, values in loss_of_steps(tmp_path / 'epoch_3').items()} == expected
