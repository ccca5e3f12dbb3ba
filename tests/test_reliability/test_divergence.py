"""Losses and gradients that are no numbers, in trainings by the real command."""
import json
import re

import pytest

from faults import digest
from nepa_mm.checkpoints.storage.files import read_checkpoint
from runs import assert_same_end, last_line, losses, train, write_config
from two import IS_SHARDED, shared_out, train_two


def with_fault(config, **fault):
    added = f'custom_imports = dict(imports="faults")\ncustom_hooks.append({dict(type="Fault", **fault)})\n'
    config.write_text(config.read_text() + added)
    return config


def assert_untouched(folder):
    """All checkpoints that were there before the step are there, byte by byte."""
    before = json.loads((folder / 'before.json').read_text())
    assert before and {name: digest(folder / name) for name in before} == before


@pytest.mark.parametrize('kind, wrong', [
    ('loss nan', "loss 'loss' is nan"), ('loss inf', "loss 'loss' is inf"),
    ('gradient nan', 'the gradient of head.fc.bias is nan in norm'),
    ('gradient long', 'the gradient norm is .*, above max_grad_norm=1000')])
def test_a_step_that_is_no_good_stops_the_training_before_the_update(kind, wrong, tmp_path):
    config = with_fault(write_config(tmp_path), kind=kind, step=6)
    said = last_line(train(config, tmp_path / 'run', code=5, default_hooks__checkpoint__max_keep_ckpts=1,
                           default_hooks__stop_on_divergence__max_grad_norm=1000))
    seen = json.loads((tmp_path / 'run/seen_0.json').read_text())
    assert len(seen) == 4  # two batches of two
    what, images, remedy = said.split(' | ')
    assert re.fullmatch(f'nepa_mm: error: step 6 was not taken: {wrong}', what), what
    assert images == f'images {", ".join(seen)}' and remedy == (
        f'the weights before it are {tmp_path}/run/diverged_iter_5.pth; look at the images, lower optim_wrapper.optimizer.lr or '
        'clip more, and --resume --allow-resume-change')
    assert_same_end(tmp_path / 'run/epoch_1.pth', tmp_path / 'run/diverged_iter_5.pth')
    assert_untouched(tmp_path / 'run')
    assert losses(tmp_path / 'run')[-1]['iter'] == 5


@pytest.mark.slow
@pytest.mark.parametrize('is_sharded', [False, IS_SHARDED])
@pytest.mark.parametrize('kind', ['loss inf', 'loss nan'])  # of which the gradient is one, and is NaN in both processes
def test_a_loss_that_is_no_number_in_one_process_stops_both_at_the_same_step(kind, is_sharded, tmp_path):
    config = with_fault(shared_out(write_config(tmp_path, 'iter-epochs'), is_sharded), kind=kind, step=6, rank=1)
    said = train_two(config, tmp_path / 'run', code=5, auto_scale_lr__base_batch_size=8)
    seen = [json.loads((tmp_path / f'run/seen_{rank}.json').read_text()) for rank in range(2)]
    assert len(seen[1]) == 4 and not set(seen[0]) & set(seen[1])
    assert f"step 6 was not taken: loss 'loss' is {kind[-3:]} in process 1 | images {', '.join(seen[1])} | " in last_line(said[0])
    assert_untouched(tmp_path / 'run')
    stopped = read_checkpoint(tmp_path / 'run/diverged_iter_5.pth')
    assert stopped['meta']['iter'] == 5 and all(value.isfinite().all() for value in stopped['state_dict'].values())
    assert losses(tmp_path / 'run')[-1]['iter'] == 5
