"""Images that cannot be read, loader workers that die or hang, and processes that do, in trainings by the real command."""
import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from PIL import Image

from nepa_mm.checkpoints.storage.files import read_checkpoint
from runs import ENV, assert_same_end, finish, last_line, loss_of_steps, losses, train, write_config
from tiny import ROOT
from two import WRAPPERS, shared_out, start_two, train_two

ALLOWED = dict(default_hooks__loader_faults__max_bad_images=3)
BAD = ('0/0.png', '0/2.png', '1/1.png')


def encoded(image, kind, **options):
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def write_bad_data(folder, kind='epoch'):
    """A config of 20 images, of which three are broken and three are merely odd."""
    config = write_config(folder, kind)
    photo = Image.linear_gradient('L').resize((44, 36)).convert('RGB')
    turned = Image.Exif()
    turned[0x112] = 6
    contents = {
        '0/0.png': b'', '1/1.png': b'<html>404</html>', '0/2.png': encoded(photo, 'JPEG')[:400],
        '1/3.png': encoded(photo.convert('CMYK'), 'JPEG'), '0/4.png': encoded(photo.convert('P'), 'PNG', transparency=3),
        '1/5.png': encoded(photo, 'JPEG', exif=turned)}
    for name, content in contents.items():
        (folder / 'data' / name).write_bytes(content)
    config.write_text(config.read_text() + 'custom_imports = dict(imports="faults")\n')
    return config


def left_out(folder):
    """Images that the log says were left out, over all starts."""
    lines = [line for log in folder.glob('*/*.log') for line in log.read_text().splitlines() if 'Image left out' in line]
    return sorted(re.search(r"img_path='.*/data/(.*?)'", line)[1] for line in lines)


def counted(folder, name='epoch_3.pth'):
    """Images that a checkpoint says were left out."""
    paths = read_checkpoint(folder / name)['message_hub']['runtime_info']['bad_images']
    return sorted(path.partition('/data/')[2] for path in paths)


@pytest.fixture(scope='module')
def whole(tmp_path_factory):
    """A training that leaves out three images and is not disturbed: its folder and config."""
    folder = tmp_path_factory.mktemp('bad')
    config = write_bad_data(folder)
    train(config, folder / 'whole', **ALLOWED)
    return folder, config


def test_a_broken_image_ends_a_training_with_its_name(tmp_path):
    said = last_line(train(write_bad_data(tmp_path), tmp_path / 'run', code=3))
    assert re.fullmatch(r"nepa_mm: error: it cannot be read as an image \(.*\) \| img_path='\S+/data/(0/0|1/1|0/2).png' \| "
                        'mend the file or take it out of the dataset', said), said


def test_broken_images_that_are_allowed_are_left_out_and_counted(whole):
    folder, _ = whole
    assert left_out(folder / 'whole') == counted(folder / 'whole') == sorted(BAD)
    assert losses(folder / 'whole')[-1]['bad_images'] == 3


def test_more_than_are_allowed_end_a_training(tmp_path):
    config = write_bad_data(tmp_path)
    said = last_line(train(config, tmp_path / 'run', code=3, default_hooks__loader_faults__max_bad_images=2))
    assert re.fullmatch(r"nepa_mm: error: 3 images cannot be read, the last '\S+/data/\S+' \| max_bad_images=2 \| repair them .*",
                        said), said


def with_trouble(folder, config, kind):
    """The same config with a worker that dies or hangs."""
    made = folder / f'{kind}.py'
    step = dict(type='Trouble', kind=kind, image='1/7.png', folder=str(folder))
    made.write_text(config.read_text() + f'train_dataloader["dataset"]["pipeline"].insert(0, {step})\n')
    return made


@pytest.mark.slow
@pytest.mark.parametrize('kind, message', [
    ('kill', r'loader worker \d+ \(SIGKILL\) died at \S+/1/7.png \(index \d+, pid \d+\)'),
    ('hang', r'data timeout after 6 s at \S+/1/7.png \(index \d+, pid \d+\)')])
def test_a_worker_that_dies_or_hangs_is_named_and_its_run_goes_on_to_the_same_end(kind, message, whole, tmp_path):
    folder, config = whole
    config, run = with_trouble(tmp_path, config, kind), tmp_path / 'run'
    timeout = dict(default_hooks__loader_faults__timeout=6)
    said = last_line(train(config, run, code=7, **ALLOWED, **timeout))
    found = re.fullmatch(
        rf'nepa_mm: error: {message} \| the last finished step, (\d+), is \S+/iter_(\d+).pth \| go on with --resume', said)
    assert found and found[1] == found[2], said
    step = int(found[1])
    assert step == max(loss_of_steps(run)) and read_checkpoint(run / f'iter_{step}.pth')['meta']['iter'] == step
    assert not children_of(run)
    train(config, run, '--resume', **ALLOWED, **timeout)
    assert loss_of_steps(run) == loss_of_steps(folder / 'whole')
    assert_same_end(run / 'epoch_3.pth', folder / 'whole/epoch_3.pth')
    assert left_out(run) == counted(run) == sorted(BAD)


def children_of(folder):
    """Processes that have the work dir in their command line."""
    lines = [path.read_bytes() for path in Path('/proc').glob('[0-9]*/cmdline') if os.access(path, os.R_OK)]
    return [line for line in lines if str(folder).encode() in line]


@pytest.fixture(scope='module', params=WRAPPERS)
def whole_two(request, tmp_path_factory):
    """The same in two processes, each with all of the model or half of it; and whether it is half."""
    folder = tmp_path_factory.mktemp('two')
    config = shared_out(write_bad_data(folder), request.param)
    train_two(config, folder / 'whole', auto_scale_lr__base_batch_size=8, **ALLOWED)
    return folder, config, request.param


def with_signal(folder, config, **signal_):
    made = folder / 'signal.py'
    made.write_text(config.read_text() + f'custom_hooks.append({dict(type="Signal", **signal_)})\n')
    return made


@pytest.mark.slow
def test_two_processes_leave_out_and_count_the_same_images(whole_two):
    folder, _, _ = whole_two
    assert left_out(folder / 'whole') == counted(folder / 'whole') == sorted(BAD)
    assert losses(folder / 'whole')[-1]['bad_images'] == 3


@pytest.mark.slow
@pytest.mark.parametrize('kind, message', [('kill', r'loader worker \d+ \(SIGKILL\) died'), ('hang', 'data timeout after 6 s')])
def test_a_worker_of_one_of_two_processes_ends_both(kind, message, whole_two, tmp_path):
    folder, config, is_sharded = whole_two
    config, run = with_trouble(tmp_path, config, kind), tmp_path / 'run'
    options = dict(auto_scale_lr__base_batch_size=8, default_hooks__loader_faults__timeout=6, **ALLOWED)
    shutil.copytree(folder / 'whole', run, ignore=shutil.ignore_patterns('epoch_[23].pth'))  # begin where something is saved
    said = [last_line(each) for each in train_two(config, run, '--resume', code=7, **options)]
    named, = (line for line in said if 'another process' not in line)
    assert re.match(rf'nepa_mm: error: {message} at \S+/1/7.png \(index \d+, pid \d+\) \| ', named), named
    if is_sharded:
        assert all('for a piece of it is gone with the process' in line for line in said) and not list(run.glob('iter_*.pth'))
    train_two(config, run, '--resume', **options)
    assert loss_of_steps(run) == loss_of_steps(folder / 'whole')
    assert_same_end(run / 'epoch_3.pth', folder / 'whole/epoch_3.pth')


@pytest.mark.slow
@pytest.mark.parametrize('rank', [0, 1])
def test_a_process_that_is_killed_ends_the_other(rank, whole_two, tmp_path):
    folder, config, is_sharded = whole_two
    config, run = with_signal(tmp_path, config, number=int(signal.SIGKILL), step=4, rank=rank), tmp_path / 'run'
    options = dict(auto_scale_lr__base_batch_size=8, **ALLOWED)
    processes = start_two(config, run, **options)
    said = last_line(finish(processes[1 - rank], 7))
    finish(processes[rank], -signal.SIGKILL)
    saved = rf'the last finished step, 3, is {run}/iter_3.pth' if rank else 'process 0 saves the last finished step, if it lives'
    if is_sharded:
        saved = 'the step was not saved, for a piece of it is gone with the process'
    assert re.fullmatch(
        rf'nepa_mm: error: another process of the training died or hangs \(.*\) \| {saved} \| go on with --resume', said), said
    assert (run / 'iter_3.pth').exists() == (rank == 1 and not is_sharded)
    if rank == 1:
        train_two(config, run, '--resume', **options)
        assert loss_of_steps(run) == loss_of_steps(folder / 'whole')
        assert_same_end(run / 'epoch_3.pth', folder / 'whole/epoch_3.pth')
        assert counted(run) == sorted(BAD)


@pytest.mark.slow
@pytest.mark.parametrize('fault, told', [
    (dict(type='Signal', number=int(signal.SIGSTOP)), r'was last heard of in step [1-4] at \S+ \(\S+\)'),
    (dict(type='Sleep'), r'is in step 4 at before_train_iter \(faults.py:\d+\)')])
@pytest.mark.parametrize('slow', [1, 2])  # of two processes; of three
def test_a_process_that_hangs_ends_the_others_within_the_timeout_and_is_named(fault, told, slow, whole_two, tmp_path):
    _, config, is_sharded = whole_two
    made = tmp_path / 'hangs.py'
    made.write_text(config.read_text() + f'custom_hooks.append({dict(fault, step=4, rank=slow)})\n')
    *others, hangs = start_two(
        made, tmp_path / 'run', befores=('', ) * (slow + 1), auto_scale_lr__base_batch_size=8 if slow == 1 else 6,
        env_cfg__dist_cfg__timeout=8, **ALLOWED)
    messages = [last_line(finish(process, 7)) for process in others]
    os.killpg(hangs.pid, signal.SIGKILL)
    finish(hangs, -signal.SIGKILL)
    saved = ['the last finished step, 3, is ', 'process 0 saves the last finished step, if it lives']
    if is_sharded:
        saved = ['the step was not saved, for a piece of it is gone with the process'] * 2
    for said, expected in zip(messages, saved):
        collective = 'broadcast' if is_sharded else 'all_?reduce'
        assert re.match(rf'nepa_mm: error: another process of the training died or hangs \(step 4, {collective} \d+ waits for '
                        rf'process {slow}, which {told}; .*([Tt]imed? ?out).*\) \| {expected}', said), said


@pytest.mark.slow
def test_two_processes_have_the_gradient_of_one_and_see_each_image_once(tmp_path):
    config = write_config(tmp_path)
    config.write_text(config.read_text() + 'custom_imports = dict(imports="faults")\ncustom_hooks.append(dict(type="Record"))\n')
    options = dict(  # without what is drawn for a whole batch
        train_cfg__max_epochs=1, auto_scale_lr__base_batch_size=8, model__backbone__drop_path_rate=0,
        model__backbone__rope__rescale=None, model__train_cfg__augments=None, train_dataloader__drop_last=False,
        train_dataloader__dataset__indices=16)
    train_two(config, tmp_path / 'two', train_dataloader__batch_size=4, **options)
    train(config, tmp_path / 'one', train_dataloader__batch_size=8, **options)
    seen = [json.loads((tmp_path / name).read_text()) for name in ('two/seen_0.json', 'two/seen_1.json', 'one/seen_0.json')]
    assert len(seen[2]) == 16 == len(set(seen[2])) and sorted(seen[0] + seen[1]) == sorted(seen[2])
    one, *two = (torch.load(tmp_path / name) for name in ('one/gradients_0.pth', 'two/gradients_0.pth', 'two/gradients_1.pth'))
    for name, gradient in one.items():
        assert gradient.abs().max() > 0, name
        assert torch.equal(two[0][name], two[1][name]), name
        torch.testing.assert_close(two[0][name], gradient, atol=1e-6, rtol=1e-6, msg=name)


@pytest.mark.slow
@pytest.mark.skipif(not torch.cuda.is_available() or torch.cuda.device_count() < 2, reason='needs two GPUs')
def test_on_two_gpus_a_process_that_hangs_is_named_before_nccl_aborts(tmp_path):
    config = write_config(tmp_path)
    hook = dict(type='Sleep', step=4, rank=1)
    config.write_text(config.read_text() + f'custom_imports = dict(imports="faults")\ncustom_hooks.append({hook})\n')
    command = ['bash', ROOT / 'tools/dist_train.sh', config, '2', '--work-dir', tmp_path / 'run', '--cfg-options',
               'auto_scale_lr.base_batch_size=8', 'env_cfg.dist_cfg.timeout=24']
    env = {**ENV, 'PYTHON': sys.executable}
    done = subprocess.run(list(map(str, command)), env=env, text=True, capture_output=True, timeout=200)
    assert done.returncode == 7
    assert re.match(r'nepa_mm: error: another process of the training hangs \(step 4, \w+ \d+ waits for process 1, which is in '
                    'step 4 at before_train_iter ', last_line(done.stderr)), done.stderr[-3000:]
