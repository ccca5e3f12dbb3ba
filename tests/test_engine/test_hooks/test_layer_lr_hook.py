import json
from types import SimpleNamespace

import pytest
import torch
from mmengine.runner import Runner
from mmpretrain.structures import DataSample

from nepa_mm import NEPA, NEPAViT
from nepa_mm.engine import LayerLRHook
from tiny import TINY


class Images(torch.utils.data.Dataset):
    metainfo = dict()

    def __len__(self):
        return 12

    def __getitem__(self, index):
        return dict(inputs=torch.zeros(3, 28, 28, dtype=torch.uint8), data_samples=DataSample())


def train(folder, enable=True, logger=dict(interval=3), **optim_wrapper):
    """Two epochs of six steps, logged at the third and sixth; the hook's lines, and mmengine's own."""
    runner = Runner(
        model=NEPA(NEPAViT(**TINY), data_preprocessor=dict(mean=[127.5] * 3, std=[127.5] * 3)),
        work_dir=str(folder),
        train_dataloader=dict(
            batch_size=2, num_workers=0, sampler=dict(type='DefaultSampler', shuffle=False), dataset=Images(),
            collate_fn=dict(type='default_collate')),
        train_cfg=dict(by_epoch=True, max_epochs=2),
        optim_wrapper=dict(optimizer=dict(type='AdamW', lr=1e-3), **optim_wrapper),
        param_scheduler=dict(type='LinearLR', start_factor=0.1, by_epoch=False, end=12),
        default_hooks=dict(logger=dict(logger, type='LoggerHook'), layer_lr=dict(type='nepa_mm.LayerLRHook', enable=enable)),
        experiment_name=f'layer-lr-{folder.name}',
        default_scope='mmpretrain')
    runner.train()
    own, ours = ((path.read_text().splitlines() for path in folder.glob(f'*/vis_data/{name}')) for name in
                 ('scalars.json', 'layer_lr.json'))
    return [json.loads(line) for line in next(own)], [json.loads(line) for line in next(ours, [])]


def test_the_rate_of_every_depth_is_written_at_the_steps_that_log(tmp_path):
    own, ours = train(tmp_path, constructor='nepa_mm.LayerDecayOptimWrapperConstructor',
                      paramwise_cfg=dict(layer_decay_rate=0.5, head_lr=4e-3))
    assert [line['step'] for line in ours] == [line['step'] for line in own] == [3, 6, 9, 12]
    for line, logged in zip(ours, own):
        assert list(line['lr']) == ['head', '0', '1', '2', '3']
        base = logged['base_lr']
        assert list(line['lr'].values()) == pytest.approx([4 * base, base, base / 2, base / 4, base / 8])
    assert ours[0]['lr']['0'] == pytest.approx(1e-3 * (0.1 + 0.9 * 2 / 11))  # of the third step, not of the next


LAYERS = dict(constructor='nepa_mm.LayerDecayOptimWrapperConstructor', paramwise_cfg=dict(layer_decay_rate=0.5))


@pytest.mark.parametrize('logger, steps', [(dict(interval=100), [6, 12]), (dict(interval=4, ignore_last=False), [4, 6, 10, 12])])
def test_the_last_step_of_an_epoch_is_written_where_it_is_logged(logger, steps, tmp_path):
    own, ours = train(tmp_path, logger=logger, **LAYERS)
    assert [line['step'] for line in ours] == [line['step'] for line in own] == steps


@pytest.mark.parametrize('settings', [dict(), dict(enable=False, **LAYERS)])
def test_without_layers_and_switched_off_nothing_is_written(settings, tmp_path):
    own, ours = train(tmp_path, **settings)
    assert len(own) == 4 and ours == []


def test_a_file_that_cannot_be_written_costs_one_warning(tmp_path):
    optimizer = torch.optim.SGD([dict(params=[torch.nn.Parameter(torch.zeros(1))], layer_depth=0, layer_decay_rate=1.)], lr=0.1)
    hook, said = LayerLRHook(), []
    hook.interval, hook.path = 1, tmp_path  # a folder
    for step in range(3):
        hook.after_train_iter(SimpleNamespace(
            optim_wrapper=SimpleNamespace(optimizer=optimizer), iter=step, logger=SimpleNamespace(warning=said.append)), step)
    line, = said
    assert line.startswith(f'{tmp_path} cannot be written (') and line.endswith('training goes on without it')
