"""Steps of trainings that are done again by tools/analysis_tools/replay_step.py: same bits, and where they went wrong."""
import re
import runpy
import signal
import sys

import pytest
from test_data_faults import with_signal, write_bad_data

from nepa_mm.analysis.replay.replayed_step import replay
from nepa_mm.analysis.replay.saved_steps import find_step
from nepa_mm.checkpoints.convert import publish
from nepa_mm.checkpoints.storage.files import read_checkpoint
from nepa_mm.checkpoints.storage.names import checkpoints_in
from nepa_mm.errors import CheckpointError, ConfigError
from runs import finish, losses, train, write_config
from tiny import ROOT
from two import start_two, train_two


def with_hook(config, **hook):
    config.write_text(f'{config.read_text()}custom_imports = dict(imports="faults")\ncustom_hooks.append({hook})\n')
    return config


def command(*arguments, monkeypatch, capsys, code=0):
    """What the command prints, run in this process."""
    monkeypatch.setattr(sys, 'argv', ['replay_step.py', *map(str, arguments)])
    capsys.readouterr()
    try:
        runpy.run_path(str(ROOT / 'tools/analysis_tools/replay_step.py'), run_name='__main__')
        assert not code
    except SystemExit as end:
        assert end.code == code
    return capsys.readouterr()


@pytest.fixture(scope='module')
def finished(tmp_path_factory):
    """A training that nothing disturbs: its work dir."""
    folder = tmp_path_factory.mktemp('finished')
    config = write_config(folder, 'iter-epochs')
    config.write_text(config.read_text() + 'log_processor = dict(window_size=1)\n')
    train(config, folder / 'run')
    return folder / 'run'


@pytest.mark.parametrize('step', [9, 13])  # of four images in two batches, behind iter_8.pth and iter_12.pth
def test_a_step_has_the_loss_of_the_log_to_the_bit(step, finished):
    saved = find_step(finished, step)
    replayed = replay(saved, 0)
    logged = {record['iter']: record for record in losses(finished)}[step]
    assert replayed.loss == logged['loss'] == saved.logged_loss(0) and len(replayed.losses) == 2
    assert replayed.grad_norm == pytest.approx(logged['grad_norm'], rel=1e-6) and not replayed.is_bad
    assert len(replayed.images) == 4 and all('/data/' in image for image in replayed.images)
    assert replayed.outputs['backbone.layers.1.mlp.fc2'] > 0 and replayed.gradients['head.fc.weight'] > 0


def test_weights_that_were_published_beside_the_checkpoints_have_no_log(finished):
    publish(str(next(checkpoints_in(finished))), finished / 'a.pth')
    published, = finished.glob('a-*.pth')
    try:
        assert find_step(finished, 9).logged_loss(0) == {record['iter']: record for record in losses(finished)}[9]['loss']
    finally:
        published.unlink()


def test_what_is_compiled_is_looked_into_without_the_compiler(finished, monkeypatch):
    monkeypatch.setenv('TORCH_COMPILE_DISABLE', '1')  # which computes the same, and saves a minute
    saved = find_step(finished, 9, {'model.backbone.compile': True})
    as_trained, seen = replay(saved, 0), replay(saved, 0, compiles=False)
    assert as_trained.is_compiled and not as_trained.outputs and not seen.is_compiled and seen.outputs
    assert as_trained.loss == seen.loss == saved.logged_loss(0)


def test_without_a_step_the_one_behind_the_newest_checkpoint_is_taken(finished):
    with pytest.raises(ConfigError, match='had ended by then'):
        replay(find_step(finished), 0)


def test_a_step_without_its_checkpoint_is_refused_with_those_that_are_there(finished):
    with pytest.raises(CheckpointError, match=r'no checkpoint of step 1 is there.*choose --step from \[9, 13, 16\]'):
        find_step(finished, 2)


def test_the_command_says_that_the_bits_are_the_same(finished, monkeypatch, capsys):
    before = {path: path.read_bytes() for path in finished.rglob('*') if path.is_file()}
    said = command(finished, '--step', 13, monkeypatch=monkeypatch, capsys=capsys).out
    assert f'Step 13, from {finished}/iter_12.pth' in said and 'All numbers are finite' in said
    loss = {record['iter']: record for record in losses(finished)}[13]['loss']
    assert re.search(rf'loss of the step\W+{loss}\W+{loss}\W+the same bits', said), said
    assert before == {path: path.read_bytes() for path in finished.rglob('*') if path.is_file()}


INSIDE = dict(type='FaultInside', module='backbone.layers.1.mlp.fc1')


@pytest.mark.parametrize('loop, hook, bad, detail', [
    ('epoch', dict(INSIDE, kind='weight'), ('backbone.layers.1.mlp.fc1', 'forward'), 'not finite in it: weight'),
    ('epoch', dict(INSIDE, kind='gradient'), ('backbone.layers.1.mlp.act', 'backward'),
     'in the gradient that reaches the output of backbone.layers.1.mlp.fc1'),
    ('mmengine-iter', dict(INSIDE, kind='gradient'), ('backbone.layers.1.mlp.act', 'backward'),
     'in the gradient that reaches the output of backbone.layers.1.mlp.fc1'),
    ('epoch', dict(type='Fault', kind='loss inf'), ('the model itself', 'forward'), 'in the output of ImageClassifier'),
    ('epoch', dict(type='Fault', kind='gradient nan'), ('head.fc', 'backward'), 'in the gradient of head.fc.bias')])
def test_the_first_bad_number_of_a_step_that_diverged(loop, hook, bad, detail, tmp_path):
    config = with_hook(write_config(tmp_path, loop), step=6, **hook)
    options = dict(optim_wrapper__accumulative_counts=3) if loop.startswith('mmengine') else {}
    train(config, tmp_path / 'run', code=5, **options)
    saved = find_step(tmp_path / 'run')
    replayed = replay(saved, 0)
    assert saved.step == 6 and saved.ranks() == [0] and len(saved.logged_losses(0)) == (3 if options else 2)
    assert repr(replayed.losses) == repr(saved.logged_losses(0))  # where NaN is NaN
    assert replayed.is_bad and (replayed.bad.module, replayed.bad.direction) == bad and detail in replayed.bad.detail
    assert replayed.bad.batch == (2 if options else 0)
    assert len(replayed.images) == 2 * len(replayed.losses)


def test_an_image_that_is_no_number_is_found_and_named(tmp_path, monkeypatch, capsys):
    config = write_config(tmp_path)
    config.write_text(config.read_text() + 'custom_imports = dict(imports="faults")\n'
                      'train_dataloader["dataset"]["pipeline"].insert(2, dict(type="NotANumber", image="1/7.png"))\n')
    train(config, tmp_path / 'run', code=5)
    saved = find_step(tmp_path / 'run')
    said = command(tmp_path / 'run', monkeypatch=monkeypatch, capsys=capsys).out
    replayed = replay(saved, 0)
    assert f'{tmp_path}/data/1/7.png' in said and 'in the input of data_preprocessor' in said
    batch = next(i for i, image in enumerate(replayed.images) if image.endswith('1/7.png')) // 2
    assert replayed.bad.batch == batch and replayed.bad.module == 'the batch'


def test_a_broken_image_leaves_its_step_to_be_replayed(tmp_path, monkeypatch, capsys):
    config = write_bad_data(tmp_path)
    for name in ('0/0.png', '0/2.png'):
        (tmp_path / 'data' / name).unlink()
    line = train(config, tmp_path / 'run', code=3).strip().splitlines()[-1]
    saved = list((tmp_path / 'run').glob('iter_*.pth'))
    assert len(saved) <= 1  # none if it was in the first step
    step = read_checkpoint(saved[0])['meta']['iter'] + 1 if saved else 1
    if saved:
        said = command(tmp_path / 'run', monkeypatch=monkeypatch, capsys=capsys, code=3)
        assert f'Step {step}, from ' in said.out and '1/1.png' in said.out and said.err.strip().splitlines()[-1] == line


@pytest.mark.slow
@pytest.mark.parametrize('hook, bad, is_sharded', [
    (dict(type='Fault', kind='loss nan'), ('the model itself', 'forward'), False),
    (dict(INSIDE, kind='gradient'), ('backbone.layers.1.mlp.act', 'backward'), False),
    (dict(INSIDE, kind='gradient'), ('backbone.layers.1.mlp.act', 'backward'), True)])
def test_of_two_processes_the_one_with_the_bad_number_is_found(hook, bad, is_sharded, tmp_path, monkeypatch, capsys):
    config = with_hook(write_config(tmp_path), step=4, rank=1, **hook)
    if is_sharded:
        config.write_text(config.read_text() +
                          'model_wrapper_cfg = dict(type="nepa_mm.FullyShardedDataParallel", _delete_=True)\n'
                          'default_hooks["checkpoint"]["sharded"] = True\n')
    train_two(config, tmp_path / 'run', code=5, auto_scale_lr__base_batch_size=8)
    saved = find_step(tmp_path / 'run')
    assert saved.processes == 2 and saved.ranks() == ([1] if 'loss' in hook['kind'] else [0, 1])
    said = command(tmp_path / 'run', monkeypatch=monkeypatch, capsys=capsys).out
    replayed = replay(saved, 1)
    assert repr(replayed.losses) == repr(saved.logged_losses(1)) and (replayed.bad.module, replayed.bad.direction) == bad
    assert 'Step 4 of process 1 of 2, ' in said and said.count('the same bits') == 2
    assert saved.checkpoint.is_dir() == is_sharded
    other = replay(saved, 0)
    assert other.losses == saved.logged_losses(0) and not other.is_bad
    assert not set(other.images) & set(replayed.images) and len(other.images) == 4


@pytest.mark.slow
def test_the_step_at_which_a_process_died_is_replayed(tmp_path):
    config = write_bad_data(tmp_path)
    for name in ('0/0.png', '1/1.png', '0/2.png'):
        (tmp_path / 'data' / name).unlink()
    config = with_signal(tmp_path, config, number=int(signal.SIGKILL), step=4, rank=1)
    processes = start_two(config, tmp_path / 'run', auto_scale_lr__base_batch_size=8)
    finish(processes[0], 7)
    finish(processes[1], -signal.SIGKILL)
    (tmp_path / 'run/signalled').touch()
    saved = find_step(tmp_path / 'run')
    replayed = replay(saved, 0)
    assert saved.step == 4 and not replayed.is_bad and len(replayed.losses) == 2 and saved.logged_loss(0) is None
