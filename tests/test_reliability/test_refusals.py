"""What a training refuses before it begins: one line of three parts, an exit code, and everything as it was."""
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from nepa_mm.checkpoints.storage.files import read_checkpoint
from runs import ENV, finish, kill_at, start, train, write_config
from tiny import ROOT
from two import IS_SHARDED, SHARDED


def last_line(err: str) -> str:
    line = err.strip().splitlines()[-1]
    assert line.startswith('nepa_mm: error: ') and line.count(' | ') == 2 and 'Traceback' not in err, err
    return line.removeprefix('nepa_mm: error: ')


@pytest.fixture(scope='module')
def config(tmp_path_factory):
    return write_config(tmp_path_factory.mktemp('refusals'))


@pytest.fixture(scope='module')
def killed(config):
    """A work dir with a training that was killed after its first epoch, and the process that holds it until then."""
    folder = config.parent / 'killed'
    # Its checkpoint is waited for: one that is written meanwhile need not be there at step 6
    process = start(config, folder, train_cfg__max_epochs=100, default_hooks__checkpoint__background=False)
    kill_at(process, folder, 6, signal.SIGSTOP)  # so that it stays where it is
    busy = last_line(train(config, folder, code=2, train_dataloader__dataset__data_root='/nowhere'))  # which is not looked at
    os.kill(process.pid, signal.SIGKILL)
    finish(process, -signal.SIGKILL)
    return folder, process.pid, busy


def test_resume_without_a_checkpoint(config):
    folder = config.parent / 'none'
    assert last_line(train(config, folder, '--resume', code=4)) == (
        f'no checkpoint to resume | {folder} | drop --resume to start anew')


def test_two_trainings_in_one_work_dir(killed):
    folder, pid, busy = killed
    assert busy == (f'another training writes there, process {pid} on {socket.gethostname()} | {folder} | '
                    'wait for its end, or choose another --work-dir')


def test_a_work_dir_with_a_run_is_refused_and_moved_aside_by_overwrite(config, killed):
    """The lock of the killed run is gone, too: no line speaks of another training."""
    folder, _, _ = killed
    before = {path: path.read_bytes() for path in folder.rglob('*') if path.is_file() and path.name != '.nepa_mm_lock'}
    said = last_line(train(config, folder, code=2))
    assert said.startswith(f"'{folder}' holds another run (epoch_1.pth), ") and '| work_dir |' in said and '--overwrite' in said
    assert before == {path: path.read_bytes() for path in before}
    train(config, folder, '--overwrite', train_cfg__max_epochs=1, default_hooks__checkpoint__interval=5)
    replaced, = folder.glob('replaced_*')
    moved = {path.relative_to(replaced) for path in replaced.rglob('*') if path.is_file()}
    assert Path('epoch_1.pth') in moved and Path('last_checkpoint') in moved
    assert all((replaced / path).read_bytes() == before[folder / path] for path in moved)
    assert [path.name for path in folder.glob('*.pth')] == ['epoch_1.pth']  # of the new run


def test_a_work_dir_that_cannot_be_written(config):
    if os.geteuid() == 0:  # whom no permission stops
        folder = Path('/proc/nepa_mm')
    else:
        folder = config.parent / 'closed'
        folder.mkdir(mode=0o555)
    said = last_line(train(config, folder, code=6, train_dataloader__dataset__data_root='/nowhere'))
    assert said.startswith('it cannot be written (') and said.endswith(f' | {folder} | choose another --work-dir')


def test_load_from_what_does_not_fit(config):
    """Weights of another model, of another shape, and some of this one: none is loaded in part."""
    folder = config.parent / 'weights'
    folder.mkdir()
    train(config, folder / 'run', train_cfg__max_epochs=1)
    good = read_checkpoint(folder / 'run/epoch_1.pth')['state_dict']
    name = 'backbone.layers.1.mlp.fc1.weight'
    cases = {
        'foreign': ({f'blocks.{i}.weight': torch.ones(1) for i in range(9)},
                    f"none of its 9 tensors belongs to ImageClassifier; first keys: {[f'blocks.{i}.weight' for i in range(5)]}"),
        'shape': ({**good, name: torch.ones(3, 3)}, 'layers.1.mlp.fc1.weight'),
        'missing': ({key: value for key, value in good.items() if key != name},
                    'tensors of this backbone, such as layers.1.mlp.fc1.weight; first keys: '),
        'head': ({key: value for key, value in good.items() if not key.startswith('head')}, None),
    }
    started = []
    for case, (state_dict, expected) in cases.items():
        torch.save(dict(state_dict=state_dict), folder / f'{case}.pth')
        started.append((start(config, folder / case, load_from=folder / f'{case}.pth', train_cfg__max_epochs=1), expected))
    for process, expected in started:
        if expected is None:  # a new head is what fine-tuning is about
            finish(process)
        else:
            said = last_line(finish(process, 4))
            assert expected in said and 'load_from' in said, said


def test_data_that_is_not_there(tmp_path):
    configs = {}
    for case in ('class', 'root', 'list'):
        (tmp_path / case).mkdir()
        configs[case] = write_config(tmp_path / case)
    (tmp_path / 'class/data/2').mkdir()
    shutil.rmtree(tmp_path / 'root/data')
    (tmp_path / 'root/data').mkdir()
    options = dict(list=dict(train_dataloader__dataset__ann_file='train.txt'))
    said = {case: train(config, tmp_path / 'run' / case, code=3, **options.get(case, {})) for case, config in configs.items()}
    assert last_line(said['class']).startswith(f"class folder '{tmp_path}/class/data/2' holds no image")
    assert last_line(said['root']).startswith(f"'{tmp_path}/root/data' has no class folders | train_dataloader.dataset | ")
    assert last_line(said['list']) == (f"'train.txt': there is no file '{tmp_path}/list/data/train.txt' | "
                                       'train_dataloader.dataset.ann_file | give the list of images')


WRONG = [
    (dict(model__backbone__patch_size=5, model__backbone__use_abs_pos_embed=True),
     '28 is not a multiple of patch_size=5, which the position embedding needs | model.backbone.img_size | change one of them or '
     'set use_abs_pos_embed=False'),  # without one it pads the images
    (dict(randomnes__seed=1), "nothing reads 'randomnes' | randomnes | did you mean 'randomness'?"),
    (dict(optim_wrapper__optimizer__lr=-0.1), '-0.1 is no number of 0 or more | optim_wrapper.optimizer.lr | give one'),
    (dict(train_dataloader__batch_size='two'), "'two' is no whole number of 1 or more | train_dataloader.batch_size | give one"),
    (dict(optim_wrapper__optimizer__weight_dekay=0.1),
     "'AdamW' has no such argument | optim_wrapper.optimizer.weight_dekay | did you mean 'weight_decay'?"),
    (dict(model__backbone__patch_sise=7),
     "'nepa_mm.NEPAViT' has no such argument | model.backbone.patch_sise | did you mean 'patch_size'?"),
    (dict(model__backbone__type='nepa_mm.NEPAVit'),
     "'nepa_mm.NEPAVit' is not registered | model.backbone.type | did you mean 'nepa_mm.NEPAViT'?"),
    (dict(train_dataloader__num_worker=1),
     "'DataLoader' has no such argument | train_dataloader.num_worker | did you mean 'num_workers'?"),
    (dict(model__backbone__rope__rescal=1),
     "'RoPE2D' has no such argument | model.backbone.rope.rescal | did you mean 'rescale'?"),
    (dict(log_processor__window_siz=1),  # of the runner itself
     "'LogProcessor' has no such argument | log_processor.window_siz | did you mean 'window_size'?"),
    (dict(log_level='INF'), "'nepa_mm.ReliableRunner' cannot be built: Level not an integer or a valid string: inf | log_level | "
     'mend it; NEPA_DEBUG=1 shows the place'),
    (dict(custom_hooks__0__momentumm=0.1),  # which a hook hands on
     "'nepa_mm.ForeachEMA' has no such argument | custom_hooks.0.momentumm | did you mean 'momentum'?"),
    (dict(default_hooks__checkpoint__intervall=1),  # which mmengine would find at the first save
     "'nepa_mm.DurableCheckpointHook' has no such argument | default_hooks.checkpoint.intervall | did you mean 'interval'?"),
    (dict(default_hooks__loader_faults__max_bad_images=-1),
     '-1 is no whole number of 0 or more | default_hooks.loader_faults.max_bad_images | give one'),
]


def test_wrong_keys_and_values_are_named_with_the_nearest_valid_ones(config):
    cases = [(start(config, config.parent / f'wrong{i}', **options), expected)
             for i, (options, expected) in enumerate(WRONG)]
    for process, expected in cases:
        assert last_line(finish(process, 2)) == expected


def start_launcher(config: Path, folder: Path, *options: str, **env: str) -> subprocess.Popen:
    """``tools/dist_train.sh`` with two processes on gloo, at a port that is free unless ``PORT`` says one."""
    command = ['bash', ROOT / 'tools/dist_train.sh', config, '2', '--work-dir', folder, '--cfg-options', *options]
    env = {**ENV, 'PYTHON': sys.executable, **env}
    return subprocess.Popen([str(part) for part in command], env=env, text=True, start_new_session=True, cwd=folder.parent,
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE)


@pytest.mark.slow
def test_several_processes_end_with_the_code_and_the_line_of_the_one_that_failed(config):
    process = start_launcher(config, config.parent / 'two', 'optim_wrapper.optimizer.weight_dekay=0.1')
    assert last_line(finish(process, 2)) == (
        "'AdamW' has no such argument | optim_wrapper.optimizer.weight_dekay | did you mean 'weight_decay'?")


@pytest.mark.slow
@pytest.mark.parametrize('is_sharded', [False, IS_SHARDED])
@pytest.mark.parametrize('rank', [0, 1])
def test_a_bug_in_one_process_is_the_last_line_of_all(rank, is_sharded, config, tmp_path):
    other, bug = tmp_path / 'bug.py', dict(type='Bug', step=2, rank=rank)
    other.write_text(f'{config.read_text()}custom_imports = dict(imports="faults")\ncustom_hooks.append({bug})\n'
                     + SHARDED * is_sharded)
    said = finish(start_launcher(other, tmp_path / 'run', 'train_cfg.max_epochs=100'), 1)
    assert 'AssertionError: a bug in a hook' in said and 'Traceback' in said
    assert re.fullmatch(rf'nepa_mm: error: AssertionError: a bug in a hook \| process {rank}, pid \d+ \| see its traceback above',
                        said.strip().splitlines()[-1]), said[-2000:]


@pytest.mark.slow
def test_a_port_that_is_taken_is_said(config):
    with socket.socket() as server:
        server.bind(('127.0.0.1', 0))
        server.listen()
        port = server.getsockname()[1]
        said = last_line(finish(start_launcher(config, config.parent / 'port', PORT=str(port)), 2))
    assert said == f'another program listens at port {port} | PORT | give another one; on one machine none is needed'


@pytest.mark.slow
def test_a_killed_process_ends_the_others(config):
    folder = config.parent / 'two_killed'
    process = start_launcher(config, folder, 'train_cfg.max_epochs=100')
    kill_at(process, folder, 3, number=0)
    pids = subprocess.run(['pgrep', '-P', str(process.pid), '-f', 'train.py'], text=True, capture_output=True).stdout.split()
    os.kill(int(pids[1]), signal.SIGKILL)
    assert last_line(finish(process, 7)) == (
        f'a process of the training died (SIGKILL) | process 1, pid {pids[1]} | go on with --resume')
