"""The promises of a training, kept by two processes that each hold half of the model."""
import json
import os
import signal
from pathlib import Path

import pytest
import torch
from forks import Process

from nepa_mm.checkpoints.storage.files import read_checkpoint
from runs import SLOWLY, VALIDATION, at, finish, kill_at, last_line, losses, only_step, train, write_config
from tiny import ROOT
from two import SHARDED, assert_both_resume, signalled_two, start_two, train_two

pytestmark = [pytest.mark.slow, pytest.mark.skipif(torch.__version__ < (2, 6), reason='FSDP2 needs torch 2.6')]
TEST = 'test_cfg, test_dataloader, test_evaluator = val_cfg, val_dataloader, val_evaluator\n'
SLOW_VALIDATION = '''import interrupt, time
interrupt.wrap('mmpretrain.models:ImageClassifier.val_step', lambda step, *args: (time.sleep(0.5), step(*args))[1])
'''
# What a process draws differs from what one of another number draws; Adam's usual eps magnifies roundings of gradients near zero.
ALIKE = dict(model__train_cfg='None', model__backbone__drop_path_rate=0, model__backbone__rope__rescale='None',
             optim_wrapper__optimizer__eps=1e-5, auto_scale_lr__base_batch_size=8, train_cfg__max_epochs=10)


def config_of(folder: Path, *more: str, kind: str = 'epoch') -> Path:
    config = write_config(folder, kind)
    config.write_text(config.read_text() + ''.join(more))
    return config


def test_one_process_two_with_all_and_two_with_half_of_the_model_are_the_same_training(tmp_path):
    config, sharded = config_of(tmp_path), tmp_path / 'sharded.py'
    sharded.write_text(config.read_text() + SHARDED)
    train(config, tmp_path / 'one', **ALIKE)
    train_two(config, tmp_path / 'ddp', **ALIKE)
    train_two(sharded, tmp_path / 'fsdp', **ALIKE)
    one, *others = (read_checkpoint(tmp_path / run / 'epoch_10.pth') for run in ('one', 'ddp', 'fsdp'))
    norms = [record['grad_norm'] for record in losses(tmp_path / 'one')]
    assert one['meta']['iter'] == len(norms) == 20 and max(norms) > 1 and one['ema_state_dict']['steps'] == 20
    for other in others:
        for part in ('state_dict', 'ema_state_dict'):
            assert other[part].keys() == one[part].keys()
            for name, value in one[part].items():
                torch.testing.assert_close(other[part][name], value, atol=1e-6, rtol=0, msg=f'{part} {name}')
        assert other['optimizer']['param_groups'] == one['optimizer']['param_groups']
        assert other['optimizer']['state'].keys() == one['optimizer']['state'].keys()
    # And the file goes on in one process
    train(config, tmp_path / 'one', '--resume', tmp_path / 'fsdp/epoch_10.pth', '--allow-resume-change',
          **{**ALIKE, 'train_cfg__max_epochs': 11, 'param_scheduler__T_max': 22})
    assert (tmp_path / 'one/epoch_11.pth').is_file()


def test_killed_and_resumed_it_ends_with_the_same_bits(whole_in_halves, tmp_path):
    config, whole = whole_in_halves
    run = tmp_path / 'run'
    both = start_two(config, run, before=SLOWLY)
    kill_at(both[0], run, 7)
    os.kill(both[1].pid, signal.SIGKILL)
    for process in both:
        finish(process, -9)
    assert not (run / 'epoch_2.pth').exists()
    assert_both_resume(config, run, whole)


@pytest.mark.parametrize('signalled', [[1], [0, 1]])
def test_a_signal_saves_the_step(signalled, whole_in_halves, tmp_path):
    config, whole = whole_in_halves
    run = tmp_path / 'run'
    messages = [finish(process, 143) for process in signalled_two(config, run, signalled)]
    assert f'SIGTERM: stopped after step {only_step(run)}' in messages[0]
    assert_both_resume(config, run, whole)


@pytest.mark.parametrize('batch', [1, 3])  # the other one waits after its last, the third, meanwhile
def test_one_is_signalled_in_a_validation(batch, tmp_path):
    config, run = config_of(tmp_path, VALIDATION, SHARDED), tmp_path / 'run'
    befores = '', SLOW_VALIDATION + at('mmpretrain.models:ImageClassifier.val_step', batch, signal.SIGTERM)
    messages = [finish(process, 143) for process in start_two(config, run, befores=befores)]
    assert 'SIGTERM: stopped after step 5' in messages[0] and only_step(run) == 5
    train_two(config, run, '--resume')
    config, whole = config_of(tmp_path / 'other', VALIDATION, SHARDED), tmp_path / 'whole'
    train_two(config, whole)
    raw, expected = (read_checkpoint(each / 'epoch_3.pth') for each in (run, whole))
    for part in ('state_dict', 'ema_state_dict'):
        assert all(torch.equal(raw[part][name], value) for name, value in expected[part].items())


def test_a_process_that_dies_ends_the_other_one_and_the_run_goes_on_from_its_checkpoint(whole_in_halves, tmp_path):
    config, whole = whole_in_halves
    run = tmp_path / 'run'
    both = start_two(config, run, befores=(SLOWLY, SLOWLY + at('mmengine.optim:OptimWrapper.step', 8, signal.SIGKILL)))
    said = finish(both[0], 7)
    finish(both[1], -9)
    assert 'another process of the training died' in said and 'for a piece of it is gone with the process' in last_line(said)
    assert_both_resume(config, run, whole)


def test_the_limit_of_the_gradient_is_that_of_its_whole_norm(whole_in_halves, tmp_path):
    config, whole = whole_in_halves
    norm = losses(whole)[0]['grad_norm']  # of the first step; later ones are means
    messages = train_two(config, tmp_path / 'run', code=5, default_hooks__stop_on_divergence__max_grad_norm=0.95 * norm)
    assert f'step 1 was not taken: the gradient norm is {norm:.4g}, above' in last_line(messages[0])
    assert (tmp_path / 'run/diverged_iter_0.pth').is_file()


def test_a_validation_is_that_of_the_average_in_the_file(tmp_path):
    config, run = config_of(tmp_path, VALIDATION, TEST, SHARDED), tmp_path / 'run'
    train_two(config, run, optim_wrapper__optimizer__lr=0.03)
    logged = [json.loads(line) for path in run.glob('*/vis_data/scalars.json') for line in path.read_text().splitlines()]
    accuracy = [line['accuracy/top1'] for line in logged if 'accuracy/top1' in line]
    command = [ROOT / 'tools/test.py', config, run / 'epoch_3.pth', '--work-dir', tmp_path / 'test']
    out, err = Process(command, tmp_path).communicate()
    assert len(accuracy) == 3 and f'accuracy/top1: {accuracy[-1]:.4f}' in out, f'{accuracy} {out[-2000:]} {err[-2000:]}'
    checkpoint = read_checkpoint(run / 'epoch_3.pth')
    weight = 'head.fc.weight'
    assert (checkpoint['state_dict'][weight] - checkpoint['ema_state_dict'][f'module.{weight}']).abs().max() > 1e-3
